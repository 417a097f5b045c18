"""The clients: one that waits, one for asyncio."""

__all__ = ["ACIEClient", "AsyncACIEClient"]

import abc
import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Literal, Self, Unpack
from urllib.parse import urlsplit

from acie_sdk._answers import Answer, Graph, Health, Model
from acie_sdk._calls import Call, Intervention, Options, ask, fetch
from acie_sdk._errors import ACIEAPIError, InvalidInputError
from acie_sdk._progress import Progress, reporting
from acie_sdk._rest import AsyncRest, Connection, Rest
from acie_sdk._retries import Attempts, RetryPolicy
from acie_sdk._spectra import spectra_of
from acie_sdk._tls import Tls

_DEFAULT_URL = "http://127.0.0.1:8080"
_DEFAULT_POLICY = RetryPolicy()


class _Shared(abc.ABC):
    """What both clients are made of; they differ only in how they wait."""

    def __init__(
        self,
        api_url: str | None = None,
        api_key: str | None = None,
        *,
        transport: Literal["rest", "grpc"] = "rest",
        timeout: float = 30.0,
        deadline: float = 120.0,
        retries: RetryPolicy | int = _DEFAULT_POLICY,
        concurrency: int = 16,
        tls: Tls | None = None,
        http_transport: Any = None,
    ) -> None:
        self.api_url = api_url or os.environ.get("ACIE_API_URL") or _DEFAULT_URL
        self.transport = transport
        _check_url(self.api_url, transport)
        for name, value in {"timeout": timeout, "deadline": deadline}.items():
            if not value > 0:
                raise InvalidInputError(name, expected="seconds above 0", found=repr(value))
        if concurrency < 1:
            raise InvalidInputError("concurrency", expected="at least 1", found=repr(concurrency))
        self._timeout, self._deadline, self._concurrency = timeout, deadline, concurrency
        self._policy = RetryPolicy(retries) if isinstance(retries, int) else retries
        key = api_key or os.environ.get("ACIE_API_KEY")
        self._wire = self._connect(Connection(self.api_url, key, tls, http_transport, concurrency))

    @abc.abstractmethod
    def _connect(self, connection: Connection) -> Any:
        """The wire of the transport that was asked for."""

    def _attempts(self, timeout: float | None, deadline: float | None = None) -> Attempts:
        return Attempts(
            self._policy,
            self._timeout if timeout is None else timeout,
            self._deadline if deadline is None else deadline,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.api_url!r}, transport={self.transport!r})"


class ACIEClient(_Shared):
    """Asks an ACIE service, and waits for its answers. May be shared by threads.

    Example::

        with ACIEClient("http://127.0.0.1:8080") as client:
            answer = client.infer(observation, "stellar_mass*=1.5")

    Arguments:
        api_url: Where the service is; ``ACIE_API_URL`` of the environment when left out. For gRPC
            ``http://host:port``, ``https://host:port`` or ``host:port``.
        api_key: API key or token; ``ACIE_API_KEY`` of the environment when left out.
        transport: ``rest`` or ``grpc``.
        timeout: Seconds of one attempt.
        deadline: Seconds of a call with all its attempts and the waits between them.
        retries: When to try again, or how often.
        concurrency: Most questions of ``infer_batch`` under way at once.
        tls: Certificates, where those of the system do not do.
        http_transport: Transport of httpx, in place of the network.

    Raises:
        InvalidInputError: An argument that cannot be used.
    """

    def infer(
        self,
        observation: Any,
        intervention: Intervention = None,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        **options: Unpack[Options],
    ) -> Answer:
        """What would this galaxy's spectrum be, had its state been different?

        Arguments:
            observation: A mapping with ``flux`` and any of ``ivar``, ``mask``, ``wavelength``,
                ``lsf``, ``redshift``, ``name``; an object with such attributes, as
                ``acie.Observation``; or the flux alone.
            intervention: ``"stellar_mass*=1.5"``, several such texts, or a mapping as
                ``{"dust_av": 0.0, "metallicity": {"shift_dex": 0.1}}``; nothing to learn what the
                galaxy is.
            timeout: Seconds of one attempt.
            deadline: Seconds of all attempts and the waits between them.
            options: ``hold`` (descendants that keep their factual value), ``samples`` (posterior
                draws), ``seed`` (repeats the same draws), ``model_version``, ``redshift`` and
                ``name`` (in place of those of the observation), ``request_id``.

        Raises:
            ACIEAPIError: See ``acie_sdk._errors``.
        """
        return self._call(ask(observation, intervention, **options), timeout, deadline)

    def infer_batch(
        self,
        observations: Any,
        interventions: Intervention | Sequence[Intervention] = None,
        *,
        progress: Progress = False,
        return_errors: bool = False,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> list[Answer | ACIEAPIError]:
        """Many questions, several under way at once, answered in their order.

        The service computes together what arrives together.

        Arguments:
            observations: Observations, or one with a galaxy axis.
            interventions: One for all as in :meth:`infer`, or a list or tuple with one for each.
            progress: True for a bar on standard error, or a function of the number done and the
                number of all.
            return_errors: Put errors in the place of their answers; else the first one is raised
                and what has not begun is not asked.
            timeout: Seconds of one attempt; the deadline holds for each question.
            options: As of :meth:`infer`, for all.
        """
        calls = calls_of(observations, interventions, options)
        answers: list[Any] = [None] * len(calls)
        with (
            ThreadPoolExecutor(self._concurrency) as pool,
            reporting(progress, len(calls)) as tell,
        ):
            places = {pool.submit(self._call, c, timeout, None): i for i, c in enumerate(calls)}
            try:
                for future in as_completed(places):
                    error = future.exception()
                    if error is not None and not (return_errors and _expected(error)):
                        raise error
                    answers[places[future]] = future.result() if error is None else error
                    tell()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        return answers

    def models(self) -> tuple[Model, ...]:
        """The models that are loaded."""
        return self._call(fetch("models"))

    def graph(self, model_version: str = "latest") -> Graph:
        """The causal graph of a model."""
        return self._call(fetch("graph", model_version))

    def health(self) -> Health:
        """Whether the service wants requests."""
        return self._call(fetch("health"))

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _connect(self, connection: Connection) -> Any:
        return _grpc().Grpc(connection) if self.transport == "grpc" else Rest(connection)

    def _call(
        self, call: Call, timeout: float | None = None, deadline: float | None = None
    ) -> Any:
        attempts = self._attempts(timeout, deadline)
        while True:
            try:
                return self._wire.send(call, attempts.begin())
            except ACIEAPIError as error:
                wait = attempts.wait(error)
            time.sleep(wait)


class AsyncACIEClient(_Shared):
    """Asks an ACIE service without blocking.

    Arguments and methods are those of :class:`ACIEClient`; an object belongs to one event loop.
    """

    async def infer(
        self,
        observation: Any,
        intervention: Intervention = None,
        *,
        timeout: float | None = None,
        deadline: float | None = None,
        **options: Unpack[Options],
    ) -> Answer:
        """As :meth:`ACIEClient.infer`."""
        return await self._call(ask(observation, intervention, **options), timeout, deadline)

    async def infer_batch(
        self,
        observations: Any,
        interventions: Intervention | Sequence[Intervention] = None,
        *,
        progress: Progress = False,
        return_errors: bool = False,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> list[Answer | ACIEAPIError]:
        """As :meth:`ACIEClient.infer_batch`."""
        calls = calls_of(observations, interventions, options)
        places = asyncio.Semaphore(self._concurrency)

        async def one(call: Call) -> Answer | ACIEAPIError:
            async with places:
                try:
                    answer = await self._call(call, timeout)
                except ACIEAPIError as error:
                    if not return_errors:
                        raise
                    answer = error
            tell()
            return answer

        with reporting(progress, len(calls)) as tell:
            tasks = [asyncio.create_task(one(call)) for call in calls]
            try:
                return list(await asyncio.gather(*tasks))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def models(self) -> tuple[Model, ...]:
        """The models that are loaded."""
        return await self._call(fetch("models"))

    async def graph(self, model_version: str = "latest") -> Graph:
        """The causal graph of a model."""
        return await self._call(fetch("graph", model_version))

    async def health(self) -> Health:
        """Whether the service wants requests."""
        return await self._call(fetch("health"))

    async def close(self) -> None:
        """Close the connections."""
        await self._wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def _connect(self, connection: Connection) -> Any:
        return _grpc().AsyncGrpc(connection) if self.transport == "grpc" else AsyncRest(connection)

    async def _call(
        self, call: Call, timeout: float | None = None, deadline: float | None = None
    ) -> Any:
        attempts = self._attempts(timeout, deadline)
        while True:
            try:
                return await self._wire.send(call, attempts.begin())
            except ACIEAPIError as error:
                wait = attempts.wait(error)
            await asyncio.sleep(wait)


def calls_of(observations: Any, interventions: Any, options: dict[str, Any]) -> list[Call]:
    """The calls of a batch; nothing is sent where one of them cannot be.

    Raises:
        InvalidInputError: Something that cannot be sent; the index says where.
    """
    several = isinstance(observations, Iterable) and not hasattr(observations, "flux")
    if isinstance(observations, dict) or hasattr(observations, "shape") or not several:
        observations = spectra_of(observations)
    observations = list(observations)
    each = isinstance(interventions, list | tuple)
    if each and len(interventions) != len(observations):
        raise InvalidInputError(
            "interventions",
            expected=f"one for all, or one for each of {len(observations)} observations",
            found=str(len(interventions)),
        )
    calls = []
    for index, observation in enumerate(observations):
        try:
            own = interventions[index] if each else interventions
            calls.append(ask(observation, own, **options))
        except InvalidInputError as error:
            raise InvalidInputError(
                f"observations[{index}].{error.argument}",
                expected=error.expected,
                found=error.found,
            ) from error
    return calls


def _expected(error: BaseException) -> bool:
    return isinstance(error, ACIEAPIError)


def _check_url(url: str, transport: str) -> None:
    if transport not in ("rest", "grpc"):
        raise InvalidInputError("transport", expected="rest or grpc", found=repr(transport))
    schemes = {"rest": ("http", "https"), "grpc": ("http", "https", "grpc", "grpcs")}[transport]
    parts = urlsplit(url if "//" in url or transport == "rest" else f"grpc://{url}")
    if parts.scheme not in schemes or not parts.hostname:
        raise InvalidInputError(
            "api_url", expected=f"an address as {schemes[0]}://host:port", found=repr(url)
        )


def _grpc() -> Any:
    """The module of the gRPC transport, whose packages are an extra."""
    try:
        from acie_sdk import _grpc as module
    except ImportError as error:
        raise ImportError("transport='grpc' needs: pip install 'acie-sdk[grpc]'") from error
    return module
