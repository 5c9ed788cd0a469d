"""The peers: Envoy with OPA, LiteLLM's proxy, and a Rust proxy that does what Cordon does."""

from __future__ import annotations

import json
import string
from pathlib import Path

from bench.full import count_rows
from bench.peers.setting import BUILT, Setting, lacking, write
from bench.systems import MODEL, ROOT, System

_HERE = ROOT / "bench/peers"


class EnvoyOpa(System):
    """Envoy, and an ext_authz server on OPA's Go SDK that gets each request with its body and logs each decision."""

    name = "Envoy + ext_authz on OPA's Go SDK, decision logs"
    refuses = frozenset({"key", "model"})
    traces = 1
    threads = 1
    """GOMAXPROCS of the ext_authz server. docs/benchmarks.md says why."""

    _ENVOY = BUILT / "envoy/lib"
    _EXT_AUTHZ = BUILT / "ext_authz"

    @classmethod
    def _envoy(cls) -> Path:
        found = sorted(cls._ENVOY.glob("python*/site-packages/envoy/_bin/envoy"))
        return found[0] if found else cls._ENVOY / "envoy"

    @staticmethod
    def lacks() -> str:
        return lacking("envoy", EnvoyOpa._envoy()) or lacking("ext_authz", EnvoyOpa._EXT_AUTHZ)

    def start(self, upstream: int) -> None:
        setting = write(self.directory / "envoy")
        self.key = setting.key
        folder = setting.config.parent
        socket = folder / "authz.sock"
        arguments = (socket, setting.bundle, setting.config, folder / "decisions.jsonl")
        environment = {"GOMAXPROCS": str(self.threads), "GOGC": "400"}
        self.run_until(socket.exists, str(self._EXT_AUTHZ), *map(str, arguments), environment=environment)
        template = string.Template((_HERE / "envoy.yaml.template").read_text())
        config = folder / "envoy.yaml"
        config.write_text(template.substitute(port=self.port, upstream_port=upstream, socket=socket))
        command = (self._envoy(), "-c", config, "--concurrency", self.workers, "--disable-hot-restart", "-l", "warn")
        self.run(*map(str, command))

    def evidence(self) -> int:
        """The lines of its decision log."""
        with (self.directory / "envoy/decisions.jsonl").open("rb") as log:
            return sum(b'"decision_id"' in line for line in log)


class LiteLLM(System):
    """LiteLLM's proxy with a master key and two models; it has no policy, no inspection and no record here."""

    name = "LiteLLM proxy"
    refuses = frozenset({"key", "model"})
    start_seconds = 180.0

    _PROGRAM = BUILT / "litellm/bin/litellm"

    @staticmethod
    def lacks() -> str:
        return lacking("litellm", LiteLLM._PROGRAM)

    def target(self, path: str) -> tuple[str, str]:
        """It has one address for all; the model leads to whole answers or to streams."""
        return f"{self.url}/v1/chat/completions", f"{MODEL}-stream" if path.startswith("/stream") else MODEL

    def start(self, upstream: int) -> None:
        folder = self.directory / "litellm"
        folder.mkdir()
        self.key = "sk-bench-master-key"
        config = folder / "config.json"
        config.write_text(json.dumps(self._config(upstream)))
        command = (self._PROGRAM, "--config", config, "--host", "127.0.0.1", "--port", self.port)
        # Without these it fetches a price list and reports to its makers.
        environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "LITELLM_LOG": "ERROR"}
        # Uvicorn kills a worker that is silent for 5 s, as one is on a busy machine while it imports or is measured.
        patience = ("--timeout_worker_healthcheck", 300)
        arguments = ("--num_workers", self.workers, "--telemetry", "False", *patience)
        self.run(*map(str, (*command, *arguments)), environment=environment)

    def _config(self, upstream: int) -> dict[str, object]:
        def model(name: str, prefix: str) -> dict[str, object]:
            where = f"http://127.0.0.1:{upstream}{prefix}"
            return {
                "model_name": name,
                "litellm_params": {"model": f"openai/{MODEL}", "api_base": where, "api_key": "sk-upstream"},
            }

        return {
            "model_list": [model(MODEL, "/v1"), model(f"{MODEL}-stream", "/stream")],
            "general_settings": {"master_key": self.key},
            "litellm_settings": {"telemetry": False},
        }


class RustProxy(System):
    """hyper and regorus with the same bundle, inspection, masking and two durable records a call."""

    name = "Rust proxy, the same work"
    refuses = frozenset({"key", "model", "secret"})
    traces = 2

    _PROGRAM = BUILT / "rust_target/release/rust_proxy"

    @staticmethod
    def lacks() -> str:
        return lacking("rust_proxy", RustProxy._PROGRAM)

    def start(self, upstream: int) -> None:
        setting: Setting = write(self.directory / "rust")
        self.key = setting.key
        arguments = (self.port, upstream, setting.bundle, setting.config, self._database, self.workers)
        self.run(str(self._PROGRAM), *map(str, arguments))

    @property
    def _database(self) -> Path:
        return self.directory / "rust/records.db"

    def evidence(self) -> int:
        """The records in its database."""
        return count_rows(self._database, "record")


PEERS: tuple[type[System], ...] = (EnvoyOpa, LiteLLM, RustProxy)
