from __future__ import annotations

from pathlib import Path

import pytest

from cordon.config import Config, load, missing_credentials
from cordon.errors import ConfigError
from tests.support.certificates import Authority, save, write_certificate

MINIMAL = """\
policy: {bundle: .}
tenants:
  - {id: acme, residency: [EU, NO]}
routes:
  - id: openai
    prefix: /openai
    kind: model
    dialect: openai
    endpoints:
      - {id: openai-eu, url: https://eu.example/v1, credential: env:OPENAI_API_KEY}
"""


def loaded(tmp_path: Path, text: str, **environment: str) -> Config:
    file = tmp_path / "cordon.yaml"
    file.write_text(text)
    return load(file, environment)


def problems(tmp_path: Path, text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text, **environment)
    return [problem.at("cordon.yaml") for problem in caught.value.problems]


def test_a_configuration_survives_the_way_to_the_processes(tmp_path: Path) -> None:
    """The supervisor hands it over as JSON, in which every setting is named."""
    config = loaded(tmp_path, MINIMAL)
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_a_setting_of_an_opa_server_beside_the_embedded_engine_is_refused(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, MINIMAL.replace("{bundle: .}", "{bundle: ., deadline_ms: 9}"))
    assert "deadline_ms belong to engine: opa" in problem


def test_a_minimal_file_is_completed_by_defaults(tmp_path: Path) -> None:
    config = loaded(tmp_path, MINIMAL)
    assert config.gateway.listen == "127.0.0.1:8080"
    assert config.control.listen == "127.0.0.1:8081"
    assert config.tenants[0].residency == ("EU", "NO")
    assert config.stand_in is None


def test_relative_paths_are_taken_from_the_file_s_own_directory(tmp_path: Path) -> None:
    config = loaded(tmp_path, "data_dir: data\npolicy: {bundle: .}\ndatabase: sqlite:///state/x.db\n")
    assert config.data_dir == tmp_path / "data"
    assert config.policy.bundle == tmp_path
    assert config.state_path == tmp_path / "state/x.db"
    assert loaded(tmp_path, "data_dir: /data\npolicy: {bundle: .}").state_path == Path("/data/cordon.db")


def test_a_credential_file_is_taken_from_there_too(tmp_path: Path) -> None:
    config = loaded(tmp_path, MINIMAL.replace("env:OPENAI_API_KEY", "file:secrets/openai"))
    assert config.routes[0].endpoints[0].credential == f"file:{tmp_path}/secrets/openai"


def test_an_empty_file_is_the_defaults_and_a_list_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "policies/bundles/starter").mkdir(parents=True)
    assert loaded(tmp_path, "# nothing yet\n").routes == ()
    assert problems(tmp_path, "- a\n") == ["cordon.yaml:1: must be a mapping of sections, such as gateway: and routes:"]


def test_an_unknown_key_is_an_error_with_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    assert problems(tmp_path, MINIMAL + "gatway: {}\n") == [
        "cordon.yaml:11: gatway: is not a setting; did you mean gateway?"
    ]
    assert problems(tmp_path, MINIMAL.replace("credential:", "credentials:")) == [
        "cordon.yaml:10: routes[0].endpoints[0].credentials: is not a setting; did you mean credential?"
    ]
    assert problems(tmp_path, MINIMAL + "gateway:\n  limits:\n    zzz: 1\n")[0].startswith(
        "cordon.yaml:13: gateway.limits.zzz: is not a setting; known here: answer, answer_idle_time, body,"
    )


def test_every_problem_is_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = MINIMAL.replace("id: acme", "id: ACME").replace("kind: model", "kind: smtp") + "gateway: {workers: many}\n"
    assert [line.split(": ")[:2] for line in problems(tmp_path, text)] == [
        ["cordon.yaml:3", "tenants[0].id"],
        ["cordon.yaml:7", "routes[0].kind"],
        ["cordon.yaml:11", "gateway.workers"],
    ]


def test_what_is_required_and_missing_is_told_at_what_encloses_it(tmp_path: Path) -> None:
    assert problems(tmp_path, MINIMAL.replace("    kind: model\n", "")) == [
        "cordon.yaml:5: routes[0].kind: is required"
    ]


def test_a_section_s_own_rules_are_told_at_the_section(tmp_path: Path) -> None:
    assert problems(tmp_path, MINIMAL.replace("    dialect: openai\n", "")) == [
        "cordon.yaml:5: routes[0]: route openai: a model route needs a dialect (openai or anthropic), "
        "an http route has none"
    ]


@pytest.mark.parametrize(
    ("extra", "line", "text"),
    [
        ("tenants:\n  - {id: acme}\n  - {id: acme}\n", 3, "tenants[1].id: the tenant acme is used twice"),
        ("gateway: {listen: '127.0.0.1:8081'}\n", 1, ""),
    ],
)
def test_names_must_be_unique(tmp_path: Path, extra: str, line: int, text: str) -> None:
    found = problems(tmp_path, extra + "policy: {bundle: .}\n")[0]
    assert text in found
    assert f":{line}:" in found or "control.listen" in found


def route(name: str, where: str, endpoint: str) -> str:
    return f"  - {{id: {name}, kind: http, {where}, endpoints: [{{id: {endpoint}, url: 'http://127.0.0.1:1'}}]}}\n"


@pytest.mark.parametrize(
    ("second", "text"),
    [
        (("a", "prefix: /b", "y"), "routes[1].id: the route a is used twice"),
        (("b", "prefix: /a", "y"), "routes[1].prefix: the prefix /a is used twice"),
        (("b", "prefix: /b", "x"), "routes[1].endpoints[0].id: the endpoint x is used twice"),
    ],
)
def test_routes_must_not_collide(tmp_path: Path, second: tuple[str, str, str], text: str) -> None:
    found = problems(tmp_path, "policy: {bundle: .}\nroutes:\n" + route("a", "prefix: /a", "x") + route(*second))
    assert found == [f"cordon.yaml:4: {text}; each must be unique"]


def test_hosts_must_not_collide_whatever_their_case(tmp_path: Path) -> None:
    text = "policy: {bundle: .}\nroutes:\n" + route("a", "host: A.example", "x") + route("b", "host: a.Example", "y")
    assert problems(tmp_path, text) == [
        "cordon.yaml:4: routes[1].host: the host a.example is used twice; each must be unique"
    ]


def test_two_listeners_cannot_share_an_address(tmp_path: Path) -> None:
    found = problems(tmp_path, "policy: {bundle: .}\nstand_in: {listen: '127.0.0.1:8080'}\n")
    assert found == ["cordon.yaml:2: stand_in.listen: the address 127.0.0.1:8080 is used twice; each must be unique"]


def test_destinations_of_decision_logs_must_not_collide(tmp_path: Path) -> None:
    text = "policy: {bundle: .}\ndecision_logs:\n  - {id: a, file: x}\n"
    found = problems(tmp_path, text + "  - {id: a, url: 'https://c.example', ca: no.pem}\n  - {id: b, file: x}\n")
    assert found[0] == "cordon.yaml:4: decision_logs[1].id: the destination a is used twice; each must be unique"
    assert "decision_logs[1].ca" in found[1]
    assert f"decision_logs[2].file: the file {tmp_path}/x is used twice" in found[2]


def test_a_destinations_paths_are_taken_from_the_files_own_directory(tmp_path: Path) -> None:
    text = "policy: {bundle: .}\ndecision_logs: [{id: a, url: 'https://c.example', credential: 'file:token'}]\n"
    (tmp_path / "cordon.yaml").write_text(text)
    assert load(tmp_path / "cordon.yaml").decision_logs[0].credential == f"file:{tmp_path}/token"


def test_a_bundle_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert problems(tmp_path, "policy:\n  bundle: none\n") == [
        f"cordon.yaml:2: policy.bundle: {tmp_path}/none is not a directory or an archive with a policy bundle"
    ]


def test_other_databases_are_refused_in_words(tmp_path: Path) -> None:
    assert "must be sqlite:///PATH or postgresql://" in problems(tmp_path, "database: mysql://x\n")[0]


def test_a_postgresql_database_holds_the_log_and_leaves_the_state_where_it_is(tmp_path: Path) -> None:
    text = "policy: {bundle: .}\ndatabase: postgresql://cordon:${SECRET_OF_THE_LOG}@db.example:5432/cordon\n"
    (tmp_path / "cordon.yaml").write_text(text)
    config = load(tmp_path / "cordon.yaml", {"SECRET_OF_THE_LOG": "hunter-2-%40"})
    assert config.database == "postgresql://cordon:hunter-2-%40@db.example:5432/cordon"
    assert config.state_path == tmp_path / "var/cordon.db"
    assert "hunter" not in repr(config)


@pytest.mark.parametrize("secret", ["p@ss-hunter", "hunter/2", "hunter%zz", "12/hunter", "hunter#2@x", "@:/"])
def test_a_password_that_would_be_read_as_something_else_is_refused_without_being_told(
    tmp_path: Path, secret: str
) -> None:
    (told,) = problems(tmp_path, f"policy: {{bundle: .}}\ndatabase: 'postgresql://cordon:{secret}@db.example/cordon'\n")
    assert "percent-encoded" in told
    assert "hunter" not in told and secret not in told


# Secrets


def test_a_secret_in_the_wrong_place_is_never_shown(tmp_path: Path) -> None:
    for text in (
        MINIMAL.replace("env:OPENAI_API_KEY", "sk-proj-verysecret"),
        MINIMAL.replace("env:OPENAI_API_KEY", "${KEY}"),
        MINIMAL.replace("env:OPENAI_API_KEY", "env:sk-proj-verysecret"),
        MINIMAL.replace("https://eu.example", "https://user:sk-proj-verysecret@eu.example"),
        MINIMAL.replace("https://eu.example/v1", "sk-proj-verysecret"),
        MINIMAL.replace("https://eu.example", "ftp://user:sk-proj-verysecret@eu.example"),
        MINIMAL.replace("https://eu.example/v1", "${KEY}"),
        MINIMAL.replace("prefix: /openai", "prefix: ${KEY}"),
    ):
        found = problems(tmp_path, text, KEY="sk-proj-verysecret")
        assert found
        assert "verysecret" not in "".join(found)


def test_missing_credentials_are_told_by_endpoint(tmp_path: Path) -> None:
    config = loaded(tmp_path, MINIMAL)
    assert [(endpoint.id, why) for endpoint, why in missing_credentials(config, {})] == [
        ("openai-eu", "the environment variable OPENAI_API_KEY is not set")
    ]
    assert list(missing_credentials(config, {"OPENAI_API_KEY": "x"})) == []
    by_file = loaded(tmp_path, MINIMAL.replace("env:OPENAI_API_KEY", "file:key"))
    assert [why for _, why in missing_credentials(by_file, {})] == [f"the file {tmp_path}/key cannot be read"]


# Certificates


def tls(tmp_path: Path, certificate: str = "a.pem", key: str = "a.key") -> list[str]:
    text = f"policy: {{bundle: .}}\ngateway:\n  tls:\n    certificate: {certificate}\n    key: {key}\n"
    return problems(tmp_path, text)


def test_a_certificate_and_its_key_are_accepted(tmp_path: Path) -> None:
    write_certificate(tmp_path / "a.pem", tmp_path / "a.key")
    config = loaded(tmp_path, "policy: {bundle: .}\ngateway: {tls: {certificate: a.pem, key: a.key}}")
    assert config.gateway.tls is not None
    assert config.gateway.tls.certificate == tmp_path / "a.pem"


def test_a_certificate_that_cannot_be_used_names_the_setting_and_the_file(tmp_path: Path) -> None:
    write_certificate(tmp_path / "a.pem", tmp_path / "a.key")
    write_certificate(tmp_path / "b.pem", tmp_path / "b.key")
    (tmp_path / "junk").write_text("junk")
    assert tls(tmp_path, certificate="none.pem") == [
        f"cordon.yaml:4: gateway.tls.certificate: {tmp_path}/none.pem cannot be read: No such file or directory"
    ]
    assert tls(tmp_path, certificate="junk") == [
        f"cordon.yaml:4: gateway.tls.certificate: {tmp_path}/junk is not a PEM certificate"
    ]
    assert tls(tmp_path, key="junk") == [f"cordon.yaml:5: gateway.tls.key: {tmp_path}/junk is not a PEM private key"]
    assert tls(tmp_path, key="b.key") == [
        f"cordon.yaml:5: gateway.tls.key: {tmp_path}/b.key is not the key of the certificate in {tmp_path}/a.pem"
    ]


def test_an_encrypted_key_is_refused_in_words(tmp_path: Path) -> None:
    write_certificate(tmp_path / "a.pem", tmp_path / "a.key", passphrase=b"secret")
    assert "is encrypted" in tls(tmp_path)[0]


def test_a_bundle_of_authorities_is_looked_at(tmp_path: Path) -> None:
    text = MINIMAL.replace("credential: env:OPENAI_API_KEY", "ca: ca.pem")
    assert problems(tmp_path, text) == [
        f"cordon.yaml:10: routes[0].endpoints[0].ca: {tmp_path}/ca.pem cannot be read: No such file or directory"
    ]
    write_certificate(tmp_path / "ca.pem", tmp_path / "ca.key")
    assert loaded(tmp_path, text).routes[0].endpoints[0].ca == tmp_path / "ca.pem"


# Client certificates


CLIENTS = """\
policy: {bundle: .}
tenants: [{id: acme}]
gateway:
  tls:
    certificate: a.pem
    key: a.key
    client_ca: clients.pem
    crl: [clients.crl]
    identities:
      - {san: spiffe://acme/a, tenant: acme, name: a, roles: [agent]}
      - {subject: "CN=b,O=Acme", tenant: acme, name: b}
"""


def clients(tmp_path: Path, text: str = CLIENTS) -> list[str]:
    authority = Authority()
    write_certificate(tmp_path / "a.pem", tmp_path / "a.key")
    save(tmp_path / "clients.pem", authority.certificate)
    save(tmp_path / "clients.crl", authority.revoke(hours=-1))
    try:
        loaded(tmp_path, text)
    except ConfigError as error:
        return [problem.at("cordon.yaml") for problem in error.problems]
    return []


def test_client_certificates_are_accepted_and_their_files_made_absolute(tmp_path: Path) -> None:
    assert clients(tmp_path) == []  # an overdue list too: it refuses its certificates, not the commands
    tls = loaded(tmp_path, CLIENTS).gateway.tls
    assert tls is not None
    assert (tls.client_ca, tls.crl) == (tmp_path / "clients.pem", (tmp_path / "clients.crl",))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "subject: \"CN=b,O=Acme\"", "san: spiffe://acme/a",
            "11: gateway.tls.identities[1].san: the certificate name san spiffe://acme/a is used twice",
        ),
        (
            "  - {san: spiffe://acme/a,", r"  - {subject: 'CN=\62,O=Acme',",
            "11: gateway.tls.identities[1].subject: the certificate name subject",
        ),
        (
            "{san: spiffe://acme/a, tenant: acme, name: a,",
            "{subject: 'CN=b+OU=x', tenant: acme, name: b}\n      - {subject: 'OU=x+CN=b', tenant: acme, name: a,",
            "11: gateway.tls.identities[1].subject: the certificate name subject CN=b+OU=x is used twice",
        ),
        ("name: b", "name: a", "11: gateway.tls.identities[1].roles: acme/a has other roles in an entry before"),
        ("tenant: acme, name: b", "tenant: globex, name: b", "11: gateway.tls.identities[1].tenant: globex is not"),
        ("san: spiffe://acme/a", "san: '*.acme.example'", "10: gateway.tls.identities[0]: san must be one whole name"),
        ("{san: spiffe://acme/a,", "{", "10: gateway.tls.identities[0]: give either san or subject"),
        ("CN=b,O=Acme", "b", "11: gateway.tls.identities[1]: subject must be a whole name"),
        ("    client_ca: clients.pem\n", "", "4: gateway.tls: crl, identities and client_certificates need client_ca"),
        ("clients.crl", "absent.crl", "8: gateway.tls.crl[0]: "),
        ("clients.pem", "a.key", "7: gateway.tls.client_ca: "),
        ("name: a,", "nmae: a,", "10: gateway.tls.identities[0].nmae: is not a setting; did you mean name?"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_client_certificates_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    assert old in CLIENTS
    found = clients(tmp_path, CLIENTS.replace(old, new))
    assert any(line.startswith(f"cordon.yaml:{told}") for line in found), found


def test_a_data_directory_that_no_socket_fits_into_is_refused(tmp_path: Path) -> None:
    found = problems(tmp_path, "data_dir: " + "x" * 110 + "\npolicy: {bundle: .}\n")
    assert found[0].startswith("cordon.yaml:1: data_dir: the path is too long for the Unix socket in it")
