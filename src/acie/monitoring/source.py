"""Asks a service how it is, and Prometheus or Alertmanager which alerts fire."""

__all__ = ["Source", "Unreachable", "answers"]

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from acie.errors import ACIEError
from acie.monitoring.snapshot import Alert, Snapshot

#: Seconds until an answer is waited for no longer.
_PATIENCE_S = 5.0
_URL = "an address such as http://localhost:8080"


class Unreachable(ACIEError):
    """A service does not answer, or not this caller."""


class Source:
    """One service, asked again and again.

    Arguments:
        url: Where it is, as ``http://localhost:8080``.
        token: API key (``acie_...``) or token of a service that asks for one.
        alerts: Where Alertmanager or Prometheus is, or None.

    Raises:
        Unreachable: Not an address.
    """

    def __init__(self, url: str, token: str | None = None, alerts: str | None = None) -> None:
        self.url, self.alerts = _checked("--url", url), alerts and _checked("--alerts", alerts)
        head = {}
        if token:
            key = token.startswith("acie_")
            head = {"X-API-Key": token} if key else {"Authorization": f"Bearer {token}"}
        self._client = httpx.AsyncClient(timeout=_PATIENCE_S, headers=head)
        # The token is for the service and for nobody else.
        self._others = httpx.AsyncClient(timeout=_PATIENCE_S)

    async def look(self) -> Snapshot:
        """How the service is now.

        Raises:
            Unreachable: It does not answer, or asks for a token.
        """
        answer, (alerts, trouble) = await asyncio.gather(self._ask(), self._fired())
        return Snapshot(answer, alerts, trouble)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()
        await self._others.aclose()

    async def _ask(self) -> Mapping[str, Any]:
        expected = "a service of ACIE that answers /api/metrics"
        try:
            response = await self._client.get(f"{self.url}/api/metrics")
        except httpx.HTTPError as error:
            raise Unreachable(
                self.url, expected=expected, found=_reason(error),
                remedy="Start it with acie serve, or name another with --url.",
            ) from None  # fmt: skip
        if response.status_code in (401, 403):
            raise Unreachable(
                self.url, expected="an API key or a token of the scope read",
                found="none" if response.status_code == 401 else "one that may not look",
                remedy="Set ACIE_API_KEY, or make a key: acie token create monitor --scope read.",
            )  # fmt: skip
        document = _document(response)
        if not isinstance(document, Mapping) or "requests" not in document:
            raise Unreachable(
                self.url, expected=expected, found=f"status {response.status_code}",
                remedy="Is it another program's address?",
            )  # fmt: skip
        return document

    async def _fired(self) -> tuple[tuple[Alert, ...] | None, str]:
        """Alerts that fire, or why they are not known."""
        if not self.alerts:
            return None, ""
        try:
            response = await self._others.get(f"{self.alerts}/api/v2/alerts")
            found = _document(response)
            if isinstance(found, list):
                return _sorted(_of_alertmanager(one) for one in found), ""
            response = await self._others.get(f"{self.alerts}/api/v1/alerts")
            found = _document(response)
            if isinstance(found, Mapping) and isinstance(found.get("data"), Mapping):
                rows = found["data"].get("alerts", [])
                return _sorted(_of_prometheus(one) for one in rows if one["state"] == "firing"), ""
        except httpx.HTTPError as error:
            return None, f"{self.alerts}: {_reason(error)}"
        return None, f"{self.alerts} is neither Alertmanager nor Prometheus"


def answers(url: str) -> int | None:
    """The status that an address answers with; None where nobody does."""
    try:
        return httpx.get(url, timeout=_PATIENCE_S, follow_redirects=True).status_code
    except httpx.HTTPError:
        return None


def _checked(option: str, url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        parsed = None
    if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host:
        raise Unreachable(option, expected=_URL, found=repr(url))
    return str(parsed).rstrip("/")


def _document(response: httpx.Response) -> Any:
    try:
        return response.json() if response.status_code == 200 else None
    except ValueError:
        return None


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {_PATIENCE_S:.0f} s"
    if isinstance(error, httpx.ConnectError):
        return "nobody who listens there"
    return type(error).__name__


def _of_alertmanager(found: Mapping[str, Any]) -> Alert:
    return _alert(found, silenced=found.get("status", {}).get("state") == "suppressed")


def _of_prometheus(found: Mapping[str, Any]) -> Alert:
    return _alert(found)


def _alert(found: Mapping[str, Any], silenced: bool = False) -> Alert:
    labels, notes = found.get("labels", {}), found.get("annotations", {})
    return Alert(
        labels.get("alertname", "?"), labels.get("severity", ""), notes.get("summary", ""),
        notes.get("runbook_url", ""), silenced,
    )  # fmt: skip


def _sorted(alerts: Any) -> tuple[Alert, ...]:
    """The most serious first, those that are silenced last."""
    order = {"critical": 0, "warning": 1}
    return tuple(
        sorted(alerts, key=lambda one: (one.silenced, order.get(one.severity, 2), one.name))
    )
