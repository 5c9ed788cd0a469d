"""Policy on the console, at a real browser: a bundle is tried on a recorded call, then rolled out and taken back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from lineage.local import open_log
from lineage.record import encode
from lineage.settings import Lineage
from lineage.state import open_state
from policies.tarball import pack
from siem.console import passwords
from siem.console.accounts import Accounts
from tests.support.browser import FAINT, OVERFLOW, chromium, opened, sign_in
from tests.support.console import PASSWORD
from tests.support.gateway import Cordon, cordon, wait_for
from tests.support.policies import write

PATIENCE = 60.0
"""Seconds, on a machine that is busy: a try is two processes."""
REQUEST = """package cordon.request

default decision := {"allow": false, "reasons": [{"rule": "tenant", "detail": "Only acme may."}]}

decision := {"allow": true} if input.principal.tenant in data.tenants
"""
TESTS = """package cordon.request_test

test_acme if data.cordon.request.decision.allow with input as {"principal": {"tenant": "acme"}}
"""
FILES = {
    "request.rego": REQUEST,
    "response.rego": 'package cordon.response\n\ndecision := {"allow": true}\n',
    "request_test.rego": TESTS,
    "data.json": '{"tenants": ["acme"]}\n',
}


class Scene(NamedTuple):
    """A Cordon with an author and an approver of policy, and the key of a caller."""

    running: Cordon
    browser: Browser
    key: str

    def says(self) -> int:
        """The status that a call of the CRM gets."""
        with self.running.client(self.key) as client:
            return client.get("/crm/customers/1001").status_code

    def revision(self) -> str:
        """What decided the latest call, as its record says."""
        return str(self.running.records(0, "call.intent", "call.refused")[-1]["policy"])


def open_accounts(running: Cordon, **roles: str) -> None:
    """Accounts of these names, each with one role; their hashes cost little."""
    state = open_state(running.data_dir / "cordon.db")
    with open_log(running.data_dir, Lineage()) as log, pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "MEMORY_KIB", 64)
        accounts = Accounts(state, lambda record: log.append(encode(record)), "cli-TEST")
        accounts.accept(accounts.first_link() or "", "root", PASSWORD)
        for name, role in roles.items():
            accounts.accept(accounts.invite(name, [role], "root"), name, PASSWORD)
    state.dispose()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    configured = write(tmp_path_factory.mktemp("policy") / "configured", FILES)
    with cordon(lambda config: config["policy"].update(bundle=str(configured))) as running, chromium() as browser:
        open_accounts(running, paula="policy_author", app="approver")
        yield Scene(running, browser, running.key("bot"))


@pytest.fixture
def paula(scene: Scene) -> Iterator[Page]:
    with opened(scene.browser, scene.running.control_url, patience=PATIENCE) as page:
        page.goto("/policy")
        sign_in(page, "paula")
        yield page


@pytest.fixture
def app(scene: Scene) -> Iterator[Page]:
    with opened(scene.browser, scene.running.control_url, patience=PATIENCE) as page:
        page.on("dialog", lambda asked: asked.accept())
        page.goto("/policy")
        sign_in(page, "app")
        yield page


def legible(page: Page) -> None:
    """The page stands out and fits, whether the window is wide or narrow, light or dark."""
    page.emulate_media(reduced_motion="reduce")  # colours change at once
    for width in (1280, 420):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(OVERFLOW) <= 0, width
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(FAINT) == [], (width, scheme)


def test_a_bundle_is_written_and_tried_on_a_recorded_call(scene: Scene, paula: Page) -> None:
    assert scene.says() == 200
    call = scene.running.records(0, "call.intent")[-1]["call"]
    paula.get_by_role("link", name="Playground").click()
    files = paula.get_by_role("textbox", name="Bundle")
    expect(files).to_have_value(re.compile("-- request.rego --"))
    paula.get_by_label("Recorded call").fill(call)
    paula.get_by_role("button", name="Load input").click()
    expect(paula.get_by_role("textbox", name="Input")).to_have_value(re.compile(r'"tenant": "acme"'))
    assert scene.running.until("admin.input_read")["by"] == "paula"

    paula.get_by_label("Run the tests too").check()  # tried by itself, as all that is typed
    decision, tests = (paula.get_by_role("region", name=name) for name in ("Decision", "Tests"))
    expect(decision).to_contain_text("allow", timeout=PATIENCE * 1_000)
    expect(tests).to_contain_text("1 of 1 passed", timeout=PATIENCE * 1_000)

    text = files.input_value()
    files.fill(text.replace('"acme"', '"globex"', 1))
    expect(decision).to_contain_text("Only acme may.", timeout=PATIENCE * 1_000)
    expect(decision.get_by_text("deny", exact=True)).to_be_visible()
    expect(decision).to_contain_text("What would have allowed it")
    expect(tests).to_contain_text("0 of 1 passed")
    failed = paula.get_by_role("region", name="request_test.rego").locator("li.bad")
    expect(failed).to_contain_text("test_acme")
    missed = paula.get_by_role("region", name="response.rego").locator("li.missed")
    expect(missed).to_contain_text("no test evaluates this")
    assert scene.says() == 200  # nothing of it touches what decides
    legible(paula)


def test_a_bundle_is_looked_at_approved_by_somebody_else_made_live_and_taken_back(
    scene: Scene, paula: Page, app: Page
) -> None:
    assert scene.says() == 200
    before = scene.revision()
    changed = {"request_test.rego": "package none\n", "data.json": '{"tenants": ["globex"]}\n'}
    archive = pack({name: text.encode() for name, text in (FILES | changed).items()})
    paula.get_by_label("Archive").set_input_files({"name": "next.tar.gz", "mimeType": "", "buffer": archive})
    paula.get_by_label("What it changes").fill("Globex instead of Acme")
    paula.get_by_role("button", name="Propose").click()
    expect(paula.get_by_role("status")).to_contain_text("Proposed as a draft.", timeout=PATIENCE * 1_000)
    expect(app.get_by_text("The configured bundle decides.")).to_be_visible()
    expect(app.get_by_text(before)).to_be_visible()

    expect(paula.get_by_role("heading", name="Globex instead of Acme")).to_be_visible()
    expect(paula.get_by_role("button", name="Approve")).to_have_count(0)
    paula.get_by_role("button", name="Try in shadow").click()
    expect(paula.get_by_role("status")).to_contain_text("Moved.")

    app.reload()
    app.get_by_role("link", name="Look at").click()
    changes = app.get_by_role("region", name="What it changes")
    expect(changes.locator("del")).to_contain_text(['"acme"'])
    expect(changes.locator("ins")).to_contain_text(['"globex"'])
    legible(app)
    app.get_by_role("button", name="Approve").click()
    expect(app.get_by_role("status")).to_contain_text("Approved.")
    app.get_by_role("button", name="Make live").click()
    expect(app.get_by_role("status")).to_contain_text("Moved.")
    assert scene.says() == 403
    assert scene.revision() != before

    app.get_by_role("button", name="Go back").click()
    expect(app.get_by_role("button", name="Try in shadow")).to_be_visible()
    wait_for(lambda: scene.says() == 200)
    assert scene.revision() == before
    moves = [(record["stage"], record["by"]) for record in scene.running.records(0, "policy.staged")]
    assert moves == [("shadow", "paula"), ("live", "app"), ("draft", "app")]
    assert [record["by"] for record in scene.running.records(0, "policy.approved")] == ["app"]
