"""As much of the API of Kubernetes as the real kubectl needs to apply, compare and delete.

It keeps objects as kubectl sends them, and does at once what controllers would do: replicas are
ready and Jobs complete, unless a name in ``broken`` is part of their image. There is no scheduler
and no admission; patches are merged as the lists of these manifests need it.
"""

import copy
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

#: Group and version, plural, kind, whether objects are in namespaces.
RESOURCES = (
    ("v1", "namespaces", "Namespace", False),
    ("v1", "serviceaccounts", "ServiceAccount", True),
    ("v1", "configmaps", "ConfigMap", True),
    ("v1", "secrets", "Secret", True),
    ("v1", "services", "Service", True),
    ("v1", "pods", "Pod", True),
    ("v1", "persistentvolumeclaims", "PersistentVolumeClaim", True),
    ("apps/v1", "deployments", "Deployment", True),
    ("apps/v1", "statefulsets", "StatefulSet", True),
    ("batch/v1", "jobs", "Job", True),
    ("networking.k8s.io/v1", "ingresses", "Ingress", True),
    ("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", True),
    ("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True),
    ("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", True),
)
KINDS = {plural: (version, kind) for version, plural, kind, _ in RESOURCES}


class ApiServer:
    """The server, on a free port of this machine.

    Arguments:
        folder: Where the kubeconfig is written.
        version: What it says that it is.
    """

    def __init__(self, folder: Path, version: str = "v1.32.4") -> None:
        self.objects: dict[tuple[str, str, str], dict] = {}
        self.writes: list[tuple[str, str, str]] = []
        self.broken: set[str] = set()
        self.refused: set[str] = set()
        self.version = version
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()
        self.kubeconfig = folder / "kubeconfig.yaml"
        server = f"http://127.0.0.1:{self._http.server_port}"
        self.kubeconfig.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": server}}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }), "utf-8")  # fmt: skip

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def find(self, plural: str, name: str, namespace: str = "") -> dict | None:
        found = [
            one
            for (kind, where, called), one in self.objects.items()
            if kind == plural and called == name and namespace in ("", where)
        ]
        return found[0] if found else None

    def names(self, plural: str) -> list[str]:
        return sorted(name for kind, _, name in self.objects if kind == plural)

    # What controllers do.

    def lived(self, key: tuple[str, str, str]) -> dict:
        """An object with its state."""
        one = self.objects[key]
        if key[0] in ("deployments", "statefulsets"):
            wanted = self._wanted(key, one)
            one["spec"]["replicas"] = wanted
            ready = 0 if self.is_broken(one) else wanted
            one["status"] = {
                "observedGeneration": one["metadata"]["generation"], "replicas": wanted,
                "updatedReplicas": wanted, "readyReplicas": ready, "availableReplicas": ready,
            }  # fmt: skip
            if not ready:
                one["status"]["conditions"] = [{
                    "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                    "message": "ReplicaSet has timed out progressing.",
                }]  # fmt: skip
        if key[0] == "jobs":
            kind = "Failed" if self.is_broken(one) else "Complete"
            one["status"] = {"conditions": [{
                "type": kind, "status": "True", "reason": "BackoffLimitExceeded",
                "message": "Job has reached the specified backoff limit",
            }]}  # fmt: skip
        return one

    def is_broken(self, one: dict) -> bool:
        images = [part["image"] for part in one["spec"]["template"]["spec"]["containers"]]
        return any(name in image for name in self.broken for image in images)

    def _wanted(self, key: tuple[str, str, str], one: dict) -> int:
        scaler = self.objects.get(("horizontalpodautoscalers", key[1], key[2]))
        wanted = one["spec"].get("replicas", 1)
        return max(wanted, scaler["spec"]["minReplicas"]) if scaler else wanted

    def pods(self, labels: dict[str, str]) -> list[dict]:
        """Pods of the broken, which are the only ones that are asked for."""
        waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
        return [
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"{key[2]}-0"},
             "status": {"containerStatuses": [{"state": {"waiting": waiting}}]}}
            for key, one in self.objects.items()
            if "template" in one.get("spec", {}) and self.is_broken(one)
            and labels.items() <= one["spec"]["template"]["metadata"]["labels"].items()
        ]  # fmt: skip

    # HTTP.

    def write(self, key: tuple[str, str, str], body: dict, dry: bool) -> dict:
        old = self.objects.get(key)
        version, kind = KINDS[key[0]]
        new = {**copy.deepcopy(body), "apiVersion": version, "kind": kind}
        if "stringData" in new:
            import base64

            new["data"] = {
                name: base64.b64encode(value.encode()).decode()
                for name, value in new.pop("stringData").items()
            }
        if old is not None and _given(new) == _given(old):
            return old  # as a real one, which gives no new generation to what has not changed
        generation = old["metadata"]["generation"] if old else 0
        new["metadata"] = {
            **new["metadata"], "uid": f"{key[0]}-{key[2]}", "generation": generation + 1,
            "resourceVersion": str(len(self.writes) + 1),
        }  # fmt: skip
        if not dry:
            self.objects[key] = new
            self.writes.append(key)
        return new

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                path, query = self._split()
                if path == "/version":
                    return self._send({"major": "1", "minor": "32", "gitVersion": api.version})
                if (found := _discovery(path)) is not None:
                    return self._send(found)
                key = _key(path)
                if key is None:
                    return self._missing(path)
                if key[0] == "pods" and not key[2]:
                    pairs = dict(one.split("=") for one in query["labelSelector"].split(","))
                    return self._send({"apiVersion": "v1", "kind": "List", "metadata": {},
                                       "items": api.pods(pairs)})  # fmt: skip
                if key not in api.objects:
                    return self._missing(key[2], key[0])
                return self._send(api.lived(key))

            def do_POST(self) -> None:
                path, query = self._split()
                body = self._body()
                key = _key(f"{path}/{body['metadata']['name']}")
                return self._write(key, body, query)

            def do_PATCH(self) -> None:
                path, query = self._split()
                key, patch = _key(path), self._body()
                return self._write(key, _merged(api.objects[key], patch), query)

            def do_DELETE(self) -> None:
                path, _ = self._split()
                self._body()
                key = _key(path)
                if api.objects.pop(key, None) is None:
                    return self._missing(key[2], key[0])
                return self._send({"kind": "Status", "apiVersion": "v1", "status": "Success"})

            def _write(self, key: tuple[str, str, str], body: dict, query: dict) -> None:
                if key[1] and ("namespaces", "", key[1]) not in api.objects:
                    return self._missing(key[1], "namespaces")
                if key[2] in api.refused:
                    return self._fail(403, "Forbidden", f"{key[2]} is forbidden: exceeded quota")
                return self._send(api.write(key, body, "dryRun" in query), 201)

            def _split(self) -> tuple[str, dict[str, str]]:
                url = urllib.parse.urlsplit(self.path)
                return url.path, dict(urllib.parse.parse_qsl(url.query))

            def _body(self) -> dict:
                text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                return json.loads(text) if text else {}

            def _missing(self, name: str, plural: str = "") -> None:
                return self._fail(404, "NotFound", f'{plural} "{name}" not found')

            def _fail(self, code: int, reason: str, message: str) -> None:
                status = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
                return self._send({**status, "message": message, "reason": reason, "code": code},
                                  code)  # fmt: skip

            def _send(self, body: dict, code: int = 200) -> None:
                data = json.dumps(body).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        return Handler


def _key(path: str) -> tuple[str, str, str] | None:
    """Plural, namespace and name of a path of the API."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces":
        namespace, parts = parts[1], parts[2:]
    if not parts or parts[0] not in KINDS:
        return None
    return parts[0], namespace, parts[1] if len(parts) > 1 else ""


def _given(one: dict) -> dict:
    """An object without what the server itself writes into its metadata."""
    own = ("uid", "generation", "resourceVersion")
    metadata = {name: value for name, value in one["metadata"].items() if name not in own}
    return {**one, "metadata": metadata}


#: What tells the entries of a list from one another; lists not named are replaced as a whole.
_MERGED_BY = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath"}


def _merged(old: object, patch: object, name: str = "") -> object:
    """A strategic merge patch, applied."""
    if isinstance(patch, dict) and isinstance(old, dict):
        new = copy.deepcopy(old)
        for key in patch.get("$retainKeys", ()) and set(new) - set(patch["$retainKeys"]):
            del new[key]
        for key, value in patch.items():
            if value is None:
                new.pop(key, None)
            elif not key.startswith("$"):
                new[key] = _merged(new.get(key), value, key)
        return new
    by = _MERGED_BY.get(name)
    if isinstance(patch, list) and isinstance(old, list) and by:
        entries = {one[by]: one for one in old}
        for one in patch:
            if one.get("$patch") == "delete":
                entries.pop(one[by], None)
            else:
                entries[one[by]] = _merged(entries.get(one[by], {}), one)
        return list(entries.values())
    return _merged({}, patch) if isinstance(patch, dict) else patch


def _discovery(path: str) -> dict | None:
    groups = {version for version, *_ in RESOURCES if "/" in version}
    if path.startswith("/openapi/v3"):
        return _openapi(path.removeprefix("/openapi/v3").strip("/"))
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
            {"name": one.split("/")[0],
             "versions": [{"groupVersion": one, "version": one.split("/")[1]}],
             "preferredVersion": {"groupVersion": one, "version": one.split("/")[1]}}
            for one in sorted(groups)
        ]}  # fmt: skip
    version = path.removeprefix("/apis/" if path.startswith("/apis/") else "/api/")
    listed = [
        {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": spaced,
         "verbs": ["create", "delete", "get", "list", "patch", "update"]}
        for own, plural, kind, spaced in RESOURCES
        if own == version
    ]  # fmt: skip
    if not listed:
        return None
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version,
            "resources": listed}  # fmt: skip


def _openapi(place: str) -> dict | None:
    """Says of every kind that the server checks its fields, so that kubectl need not."""
    folders = {version: f"apis/{version}" if "/" in version else f"api/{version}"
               for version, *_ in RESOURCES}  # fmt: skip
    if not place:
        return {"paths": {folder: {"serverRelativeURL": f"/openapi/v3/{folder}?hash=1"}
                          for folder in folders.values()}}  # fmt: skip
    paths = {}
    for version, plural, kind, _ in RESOURCES:
        if folders[version] == place:
            group, _, last = version.rpartition("/")
            named = {"group": group, "version": last, "kind": kind}
            paths[f"/{place}/{plural}/{{name}}"] = {"patch": {
                "x-kubernetes-group-version-kind": named,
                "parameters": [{"name": "fieldValidation", "in": "query"}],
                "responses": {},
            }}  # fmt: skip
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "1"}, "paths": paths}
