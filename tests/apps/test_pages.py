"""Both pages in a real browser: what a user does, and what is to be seen then."""

import re

import numpy as np
import pytest

import minitorch
from minitorch.apps import projector
from minitorch.text import KeyedVectors

# Colours of a canvas, and whether texts or boxes of the page lie on each other.
COLOURS = """
const canvas = document.querySelector(arguments[0]);
const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
return new Set(new Uint32Array(data.buffer)).size;
"""
OVERLAPS = """
const boxes = [...document.querySelectorAll(arguments[0])].map(e => [e, e.getBoundingClientRect()])
  .filter(([_, box]) => box.width && box.height);
const found = [];
for (const [a, p] of boxes) for (const [b, q] of boxes)
  if (a !== b && !a.contains(b) && !b.contains(a) && p.left < q.right - 1 && q.left < p.right - 1 &&
      p.top < q.bottom - 1 && q.top < p.bottom - 1) found.push(a.outerHTML + b.outerHTML);
return found;
"""


@pytest.fixture
def play(browser, server):
    """The playground, opened."""
    browser.open(server.url)
    browser.wait("state && state.epoch == 0")
    yield browser
    browser.open("about:blank")


def shown(browser, selector):
    return browser.run("return document.querySelector(arguments[0]).textContent", selector)


def test_the_playground_trains_while_it_plays(play):
    told = r"training: 0\.\d{4}, \d+\.\d % righttest: 0\.\d{4}, \d+\.\d % right"
    assert re.fullmatch(told, shown(play, "#losses"))
    before = play.run("return document.querySelector('#map').toDataURL()")
    play.click("#play")
    play.wait("state.epoch >= 30")
    assert shown(play, "#play") == "Pause"
    play.click("#play")
    play.wait("!playing")
    assert play.run("return document.querySelector('#map').toDataURL()") != before
    for canvas in ("#map", "#curves", "#links"):
        assert play.run(COLOURS, canvas) > 20
    first, last = play.run("return [history[0], history.at(-1)]")
    assert last[0] < first[0]
    epoch = play.run("return last.then(() => state.epoch)")
    assert shown(play, "#epoch") == str(epoch) == str(play.run("return history.length") - 1)
    play.click("#step")
    play.wait(f"state.epoch == {epoch + 1}")
    play.click("#reset")
    play.wait("state.epoch == 0")
    assert play.run("return history[0]") == first  # the same seed
    assert play.errors() == []


def test_the_settings_of_the_playground(play):
    set_to = """
    const input = form.elements[arguments[0]];
    input.value = arguments[1];
    input.dispatchEvent(new Event("change", {bubbles: true}));
    return last.then(() => null);
    """
    play.click("#step")
    play.wait("state.epoch == 1")
    play.run(set_to, "lr", "0.1")  # goes on
    assert play.run("return state.epoch") == 1
    play.run(set_to, "data", "reg-gauss")  # begins anew
    assert play.run("return [state.epoch, state.accuracy]") == [0, None]
    play.click("#more")
    play.wait("state.maps.length == 5 && $('layers').textContent == '3 hidden layers'")
    play.click('.layer:nth-child(3) button[title="add a unit"]')
    play.wait("state.maps[1].length == 5")
    play.click(".feature:nth-of-type(4) canvas")
    play.wait("state.maps[0].length == 3")
    assert play.run("return network.features") == ["x1", "x2", "x1^2"]
    for _ in range(3):
        play.click("#fewer")
    play.wait("state.maps.length == 2 && $('layers').textContent == '0 hidden layers'")
    play.run(set_to, "seed", "-1")
    assert shown(play, "#message") == "seed: expected an integer from 0 to 4294967295, got -1"
    play.run(set_to, "seed", "1")
    assert shown(play, "#message") == ""
    play.run("session = 'lost'")
    play.click("#step")
    play.wait("$('message').textContent.endsWith('Reset begins anew.')")
    play.click("#reset")
    play.wait("!$('message').textContent && state.epoch == 0")
    assert [entry.split()[-3] for entry in play.errors()] == ["400", "404"]
    play.run("window.fetch = () => Promise.reject(new TypeError('Failed to fetch'))")
    play.click("#play")
    play.wait("$('message').textContent.startsWith('minitorch does not answer: ')")
    assert shown(play, "#play") == "Play"


def test_a_unit_is_shown_large_while_the_mouse_is_on_it(play):
    hover = "document.querySelector(arguments[0]).dispatchEvent(new MouseEvent(arguments[1]))"
    canvas = '[data-unit="1,3"]'
    play.run(hover, canvas, "mouseenter")
    assert shown(play, "#title") == "Hidden layer 1, unit 4"
    play.run(hover, canvas, "mouseleave")
    assert shown(play, "#title") == "Output"
    play.run(hover, '[data-unit="0,1"]', "mouseenter")
    assert shown(play, "#title") == "Feature x₂"
    play.run(hover, canvas, "mouseenter")
    play.click(".layer:nth-child(3) button")  # takes that unit away
    play.wait("state.maps[1].length == 3")
    assert shown(play, "#title") == "Output"
    assert play.errors() == []


@pytest.mark.parametrize("hidden", [[4, 2], [8] * 6])
def test_nothing_overlaps_on_the_playground(play, hidden):
    play.run("network = {features: options.names.features, hidden: arguments[0]}; reset()", hidden)
    play.wait(f"state.maps.length == {len(hidden) + 2} && state.maps[0].length == 7")
    for parts in ("label, button, h1, h2", ".unit, .head button, .head span", "section, header"):
        assert play.run(OVERLAPS, parts) == []
    assert play.run("return document.documentElement.scrollWidth <= innerWidth")


WORDS = ["frog", "toad", "king", "queen", "paris", "</script><script>alert(1)</script>"]


@pytest.fixture
def project(browser, tmp_path):
    """The projector's page of six words, opened, and their vectors."""
    numbers = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    vectors = KeyedVectors(5, WORDS, minitorch.tensor(numbers), [1000, 900, 50, 40, 3, 2])
    path = projector.save(vectors, tmp_path / "p.html", title="six words")
    browser.open(path.as_uri())
    browser.wait("dots.length == 6")
    return browser, vectors


def test_the_projector_finds_words_and_their_neighbours(project):
    page, vectors = project
    assert shown(page, "h1") == page.run("return document.title") == "six words"
    assert "2log scale1,000" in shown(page, "#legend")
    page.type("#search", "o")
    assert shown(page, "#list") == "2 foundfrogtoad"
    page.type("#search", "\ue003" + "king\ue007")  # backspace; enter
    expected = vectors.most_similar("king")
    told = page.run("return [...document.querySelectorAll('#list span')].map(e => e.textContent)")
    assert told == [text for word, cosine in expected for text in (word, f"{cosine:.4f}")]
    page.click("#list button")
    assert shown(page, "#list b") == expected[0][0]
    assert page.errors() == []


def test_the_projector_shows_words_as_text(project):
    page, _ = project
    page.run("select(5)")
    assert shown(page, "#list b") == WORDS[5]
    assert page.run("return document.scripts.length") == 2


def test_the_projector_turns_zooms_and_is_clicked(project):
    page, _ = project
    dots = page.run("return dots.map(({x, y}) => [x, y])")
    middle = page.run("return [canvas.clientWidth / 2, canvas.clientHeight / 2]")
    page.drag((20, 20), (120, 60))
    assert page.run("return [view.yaw, view.pitch]") == pytest.approx([0.6 + 0.5, 0.35 + 0.2])
    assert page.run("return selected") is None
    page.click("#home")
    assert page.run("return dots.map(({x, y}) => [x, y])") == dots
    page.drag(dots[0], dots[0])
    assert shown(page, "#list b") == WORDS[0]
    page.run(
        "canvas.dispatchEvent(new WheelEvent('wheel', {deltaY: -500, clientX: arguments[0], "
        "clientY: arguments[1]}))",
        *dots[1],
    )
    there = page.run("return [dots[1].x, dots[1].y, view.zoom]")
    assert there == pytest.approx([*dots[1], np.e], abs=1.5)  # what is under the mouse stays
    page.click("#home")
    page.click('[value="2"]')
    places = page.run("return data.places")
    scale = 0.42 * 2 * min(middle)
    flat = [[middle[0] + scale * a, middle[1] - scale * b] for a, b, _ in places]
    np.testing.assert_allclose(page.run("return dots.map(({x, y}) => [x, y])"), flat)
    page.drag((20, 20), (50, 10))
    assert page.run("return [view.x, view.y]") == [30, -10]
    assert page.errors() == []


def test_nothing_overlaps_on_the_projector(project):
    page, _ = project
    page.run("select(0)")
    assert page.run(COLOURS, "#space") > 20
    assert page.run(OVERLAPS, "aside > *, canvas") == []
    assert page.run(OVERLAPS, "aside label, aside button, aside input") == []
