"""The playground: its games are the environment's own, its server answers its own page only, and a browser plays it."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gymnasium as gym
import numpy as np
import pytest
from process_cases import PATIENCE

from teach_gym.core.build import make_task
from teach_gym.core.randomness import Streams
from teach_gym.core.task import reset
from teach_gym.play.game import Game
from teach_gym.play.server import Playground
from teach_gym.registration import env_id
from teach_gym.teachers import make_teacher, teach_episodes

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def playground(tmp_path: Path) -> Iterator[Playground]:
    with Playground("LabelMoons", 3, tmp_path / "games") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def ask(server: Playground, what: str, given: Any = None, token: str | None = None, host: str = "127.0.0.1") -> Any:
    """The status and the JSON (or text) of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=PATIENCE)
    path = f"/{what}?token={server.token if token is None else token}"
    body = None if given is None else json.dumps(given)
    headers = {"Host": f"{host}:{server.server_port}"}
    connection.request("GET" if given is None else "POST", path, body, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    return answer.status, json.loads(text) if answer.headers["Content-Type"] == "application/json" else text


def test_a_game_is_an_episode_of_the_environment(name: str) -> None:
    game = Game(name, seed=5)
    env = gym.make(env_id(name))
    env.reset(seed=5)
    rng = np.random.default_rng(0)
    for _ in range(4):
        view = game.view()
        assert len(view["choices"]) == env.action_space.n and not view["over"]
        action = int(rng.integers(env.action_space.n))
        shown = view["choices"][action]["example"]
        game.step(action)
        env.step(action)
        np.testing.assert_array_equal(game.state.w, env.unwrapped.state.w)
        assert game.view()["step"]["shown"][0] == shown, "the choice showed what came"


def test_moves_can_be_taken_back() -> None:
    game = Game("MixupMoons", 1)
    game.step(0)
    middle, view = game.state.w.copy(), game.view()
    game.step(3)
    game.undo()
    np.testing.assert_array_equal(game.state.w, middle)
    assert game.view() == view
    game.undo()
    game.undo()
    assert game.view()["t"] == 0


def test_following_the_hints_ends_at_the_greedy_oracle_and_is_saved(tmp_path: Path) -> None:
    game = Game("SelectMoons", 7, tmp_path)
    while not game.over:
        game.step(game.hint())
    by_name = {row["who"]: row for row in game.result()}
    assert by_name["you"]["score"] == pytest.approx(1.0) == by_name["greedy oracle"]["score"]
    assert by_name["plain SGD"]["score"] == 0.0
    task = make_task("SelectMoons")
    assert by_name["plain SGD"]["distance"] == teach_episodes(task, make_teacher("passive"), [7])[1][0]
    np.testing.assert_array_equal(reset(task, Streams.from_seeds([7])).w, Game("SelectMoons", 7).state.w)
    saved = json.loads((tmp_path / "SelectMoons-seed-7.json").read_text())
    assert saved["actions"] == game.actions and saved["result"] == json.loads(json.dumps(game.result()))
    assert (tmp_path / "SelectMoons-seed-7.html").stat().st_size > 10_000
    with pytest.raises(ValueError, match="the episode is over"):
        game.step(0)


@pytest.mark.parametrize("action", [-1, 5, 1.0, True, "1", None])
def test_wrong_actions(action: Any) -> None:
    with pytest.raises(ValueError, match=r"action must be an integer in \[0, 5\)"):
        Game("LabelMoons", 0).step(action)


def test_only_requests_with_the_token_and_for_this_machine_are_answered(playground: Playground) -> None:
    assert urlsplit(playground.url).hostname == "127.0.0.1"
    status, page = ask(playground, "")
    assert status == 200 and "You are the teacher" in page
    for wrong in ({"token": "x"}, {"token": ""}, {"host": "elsewhere.example"}):
        assert ask(playground, "", **wrong)[0] == 404
        assert ask(playground, "step", {"action": 0}, **wrong)[0] == 403
    assert ask(playground, "other")[0] == 404
    assert playground.game.actions == []


def test_the_server_plays_and_names_errors(playground: Playground) -> None:
    status, view = ask(playground, "step", {"action": 2})
    assert status == 200 and view["t"] == 1
    assert ask(playground, "undo", {})[1]["t"] == 0
    assert ask(playground, "hint", {})[1]["hint"] in range(5)
    status, view = ask(playground, "new", {"task": "SelectMoons", "seed": 4})
    assert view["name"] == "SelectMoons" and view["scene"]["medium"] == "select"
    for what, given, message in (
        ("new", {"task": "LabelMoon"}, "did you mean 'LabelMoons'"),
        ("new", {"seed": -1}, "seed must be"),
        ("new", {"seed": "9" * 5_000}, "... (5,002 characters)"),
        ("step", {"action": 99}, "action must be"),
        ("step", {}, "action must be"),
        ("jump", {}, "unknown request 'jump'"),
        ("step", [1], "JSON object"),
    ):
        status, answer = ask(playground, what, given)
        assert status == 400 and message in answer["error"]
    assert ask(playground, "view", {})[1]["name"] == "SelectMoons"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium")
def test_a_person_plays_an_episode_by_clicks_and_keys(playground: Playground, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(playground.url)

        def at(step: int) -> None:
            sync_api.expect(page.locator("#step")).to_contain_text(f"step {step} / ")

        true = int(playground.game.state.y[0, 0, 0, 0])
        assert f"(offered: class {true})" in page.inner_text("#prompt")
        assert [text.split()[:3] for text in page.locator("#choices small").all_inner_texts()][::4] == [
            ["class", "0"],
            ["class", "1"],
        ]
        page.keyboard.press("2")
        at(1)
        page.keyboard.press("u")
        at(0)
        page.click("#hint")
        hinted = page.locator("#choices button.hinted")
        hinted.wait_for()
        assert int(hinted.get_attribute("data-action")) == playground.game.hint()
        budget = playground.game.task.spec.budget
        for t in range(budget):
            page.click(f"#choices button[data-action='{t % 5}']")
            at(t + 1)
        shown = {
            row.get_attribute("data-who"): row.inner_text().split("\t") for row in page.locator("tr[data-who]").all()
        }
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, "no sideways scrolling on a telephone"
        browser.close()
    env = gym.make(env_id("LabelMoons"))
    env.reset(seed=3)
    for t in range(budget):
        *_, info = env.step(t % 5)
    ends = [float(teach_episodes(make_task("LabelMoons"), make_teacher(n), [3])[1][0]) for n in ("passive", "greedy")]
    score = (ends[0] - float(info["distance"])) / (ends[0] - ends[1])
    assert float(shown["you"][1]) == pytest.approx(float(info["distance"]), rel=1e-3)
    assert float(shown["you"][2]) == pytest.approx(score, abs=6e-4)
    assert not problems
