"""The report in a real browser: nothing is asked for, nothing overflows, everything works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jepsen_like import report
from tests.jepsen import forge
from tests.jepsen.browser import CHROMIUM, DRIVER, Browser, browser
from tests.jepsen.poison import poison

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on the PATH"),
    pytest.mark.skipif(DRIVER is None, reason="no chromedriver on the PATH"),
]

PHONE = (360, 740)
DESK = (1280, 900)
OPEN_ALL = "for (const one of document.querySelectorAll('details')) one.open = true;"
# Elements that stick out of a phone's screen, but for what scrolls in a box of its own.
STICKING_OUT = """
    return [...document.body.querySelectorAll('*')]
        .filter((one) => !one.closest('.scroll *, [hidden], thead'))
        .filter((one) => one.getBoundingClientRect().right > innerWidth + 0.5)
        .map((one) => `${one.tagName} ${one.className} ${one.textContent.slice(0, 40)}`);
"""
# Texts whose colour is too near to what they stand on, as WCAG 2 counts it.
TOO_FAINT = """
    const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgba = (colour) => {
        paint.clearRect(0, 0, 1, 1);
        paint.fillStyle = colour;
        paint.fillRect(0, 0, 1, 1);
        return [...paint.getImageData(0, 0, 1, 1).data];
    };
    const ground = (one) => {
        for (; one; one = one.parentElement) {
            const colour = rgba(getComputedStyle(one).backgroundColor);
            if (colour[3] === 255) return colour;
        }
        throw new Error('the page has no ground');
    };
    const light = (colour) => {
        const [r, g, b] = colour.slice(0, 3).map((part) => part / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const faint = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let texts = 0;
    while (walker.nextNode()) {
        const one = walker.currentNode.parentElement;
        if (!walker.currentNode.textContent.trim() || !one.checkVisibility()) continue;
        const style = getComputedStyle(one);
        const ink = one.closest('svg') ? style.fill : style.color;
        if (one.closest('.point')) continue; // stands on its own circle
        const pair = [light(rgba(ink)), light(ground(one))].sort((a, b) => b - a);
        const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
        texts += 1;
        if (contrast < 4.5) faint.add(`${one.tagName}.${one.getAttribute('class')}`
            + ` ${contrast.toFixed(2)} ${one.textContent.slice(0, 20)}`);
    }
    return [texts, [...faint]];
"""


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    forge.write(folder)
    return report.write(folder)


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("poisoned")
    forge.write(folder, replace(forge.Plan(), seconds=60, faults=6))
    poison(folder)
    return report.write(folder)


@pytest.fixture
def page(window: Browser, written: Path) -> Browser:
    """The forged run's page, on a desk, in light colours, with nothing logged yet."""
    window.resize(*DESK)
    window.prefer("light")
    for kind in ("browser", "performance"):
        window.log(kind)
    window.open(written)
    return window


def requested(window: Browser) -> list[str]:
    """Every address that was asked for since the last time."""
    messages = [json.loads(one["message"])["message"] for one in window.log("performance")]
    return [
        one["params"]["request"]["url"]
        for one in messages
        if one["method"] == "Network.requestWillBeSent"
    ]


def ground(window: Browser) -> Any:
    return window.run("return getComputedStyle(document.body).backgroundColor")


def test_nothing_is_asked_for_and_nothing_complains(page: Browser, written: Path) -> None:
    """
    The page is the only request, and the console stays empty.
    """
    page.run(OPEN_ALL)

    assert requested(page) == [written.as_uri()]
    assert page.log("browser") == []


def test_the_policy_holds(page: Browser) -> None:
    """
    Whatever got in all the same would not run, load anything or reach anybody.
    """
    page.run("""
        window.refused = [];
        addEventListener('securitypolicyviolation', (e) => refused.push(e.effectiveDirective));
        const script = document.createElement('script');
        script.textContent = 'window.ran = true';
        document.body.append(script);
        const image = new Image();
        image.src = 'http://127.0.0.1:9/x.png';
        document.body.append(image);
        document.body.insertAdjacentHTML('beforeend', '<p style="color: red">x</p>');
        fetch('http://127.0.0.1:9/').catch(() => { window.failed = true; });
    """)
    page.until("return refused.length >= 4 && window.failed")

    refused = page.run("return refused")
    assert {"script-src-elem", "img-src", "style-src-attr", "connect-src"} <= set(refused)
    assert page.run("return window.ran ?? null") is None
    assert len(page.log("browser")) >= 4  # so complaints would be seen


def test_text_of_a_run_does_nothing(window: Browser, poisoned: Path) -> None:
    """
    A run full of markup and scripts shows them as text: nothing runs, nothing is loaded,
    and nothing is wider than the screen.
    """
    window.resize(*PHONE)
    for kind in ("browser", "performance"):
        window.log(kind)
    window.open(poisoned)
    window.run(OPEN_ALL)

    assert requested(window) == [poisoned.as_uri()]
    assert window.log("browser") == []
    assert window.run("return document.images.length") == 0
    assert "<img src=x onerror=alert(1)>" in window.run("return document.body.innerText")
    for width in (PHONE[0], 768, 1280):
        window.resize(width, 740)
        assert window.run("return document.documentElement.scrollWidth <= innerWidth"), width
    assert window.run("return document.querySelector('#theme').hidden") is False


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_no_page_scrolls_sideways(page: Browser, width: int) -> None:
    """
    On every screen the page is as wide as the screen, with everything unfolded; what is
    wider scrolls in a box of its own.
    """
    page.resize(width, 740)
    page.run(OPEN_ALL)

    assert page.run(STICKING_OUT) == []
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    page.run(
        "document.querySelector('h1').textContent = 'x'.repeat(9).concat('\\u00a0'.repeat(999))"
    )
    page.run("document.querySelector('h1').style.whiteSpace = 'nowrap'")
    assert page.run("return document.documentElement.scrollWidth > innerWidth")


def test_charts_are_as_wide_as_the_screen(page: Browser) -> None:
    """
    A chart takes the room there is, and its texts stay as large as they are.
    """
    ask = """
        const plot = document.querySelector('.plot svg');
        const text = document.querySelector('text.level');
        return [plot.getBoundingClientRect().width, text.getBoundingClientRect().height];
    """
    wide, high = page.run(ask)
    page.resize(*PHONE)
    narrow, still = page.run(ask)

    assert wide > 900
    assert 300 < narrow < PHONE[0]
    assert still == pytest.approx(high, abs=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(page: Browser, scheme: str) -> None:
    """
    Text has a contrast of at least 4.5 in both schemes, wherever it stands.
    """
    page.prefer(scheme)
    page.run(OPEN_ALL)

    texts, faint = page.run(TOO_FAINT)

    assert texts > 1_000
    assert faint == []
    page.run("document.querySelector('.lead').style.color = '#777777'")
    assert any("lead" in one for one in page.run(TOO_FAINT)[1])


def test_the_colours_are_those_that_the_system_prefers(page: Browser) -> None:
    """
    Where dark is preferred the page is dark, its charts too, without anybody's doing.
    """
    fill = "return getComputedStyle(document.querySelector('.area.ok')).fill"
    light, area = ground(page), page.run(fill)
    page.prefer("dark")

    assert light == "rgb(251, 251, 250)"
    assert ground(page) == "rgb(20, 23, 26)"
    assert page.run(fill) != area


def test_the_switch_turns_the_colours_around(page: Browser) -> None:
    """
    The button shows the other colours, back again, and says which ones it would show; once
    back, the page follows the system as before.
    """
    said = "return document.querySelector('#theme').textContent"
    light = ground(page)
    assert page.run(said) == "Dark"

    page.click("#theme")
    dark = ground(page)
    assert dark != light
    assert page.run(said) == "Light"
    page.click("#theme")
    assert ground(page) == light

    page.prefer("dark")
    page.click("#theme")
    page.click("#theme")
    assert ground(page) == dark


def test_what_is_folded_opens(page: Browser) -> None:
    """
    A click opens what is folded, and a reference to something inside does too.
    """
    page.click("#faults-all > summary")
    assert page.run("return document.querySelector('#faults-all').open")

    page.click("#faults-all > summary")
    page.run("document.querySelector('.lane a').dispatchEvent(new MouseEvent('click'))")
    page.until("return document.querySelector('#faults-all').open")
    number = page.run("return location.hash")
    assert number.startswith("#fault-")
    assert page.run(f"return document.querySelector('{number}').checkVisibility()")


def test_pointing_at_a_chart_says_what_was(page: Browser) -> None:
    """
    The line above the charts tells the numbers of the second that is pointed at, by
    pointer or by key.
    """
    page.run("""
        const tracks = document.querySelector('#tracks');
        const box = document.querySelector('.plot').getBoundingClientRect();
        const [x, y] = [box.left + box.width * 0.5001, box.top + 5];
        const event = new PointerEvent('pointermove', {clientX: x, clientY: y, bubbles: true});
        tracks.dispatchEvent(event);
    """)
    cell = "return document.querySelector('[data-of=\"{}\"]').textContent"
    numbers = json.loads(page.run("return document.querySelector('#numbers').textContent"))

    second = page.run(cell.format("at"))
    assert second == f"{int(numbers['seconds'] / 2)} s"
    at = int(second.removesuffix(" s"))
    assert page.run(cell.format("ok")) == f"{numbers['ok'][at]}/s"
    assert page.run(cell.format("leader")) == numbers["leader"][at]
    assert "ms · " in page.run(cell.format("latency register"))
    assert page.run("return document.querySelector('.cross').checkVisibility()")

    page.run("""
        const press = new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true});
        document.querySelector('#tracks').dispatchEvent(press);
    """)
    assert page.run(cell.format("at")) == f"{at + 1} s"


def test_a_violation_opens_where_it_is_stuck(page: Browser) -> None:
    """
    The figure is scrolled to the operation that has no place, which says more when tapped.
    """
    page.resize(*PHONE)
    page.open_again()
    inside = page.run("""
        return [...document.querySelectorAll('.lanes .scroll')].map((box) => {
            const bar = box.querySelector('.op.stuck').getBoundingClientRect();
            const frame = box.getBoundingClientRect();
            return bar.left >= frame.left && bar.right <= frame.right;
        });
    """)
    assert inside
    assert all(inside)

    page.run(
        "const click = new MouseEvent('click', {bubbles: true});"
        "document.querySelector('.op.stuck').dispatchEvent(click);"
    )
    assert "stuck: no place explains it" in page.run(
        "return document.querySelector('.violation .detail').innerText"
    )


def test_the_command_is_copied_or_at_least_selected(page: Browser) -> None:
    """
    One click, and the command is in the clipboard, or one key press away from it.
    """
    page.click("#copy")
    page.until("return document.querySelector('#copy').textContent !== 'Copy'")

    command = page.run("return document.querySelector('#command').textContent")
    assert command.endswith("--seed 7")
    if page.run("return document.querySelector('#copy').textContent") == "Selected":
        assert page.run("return getSelection().toString()") == command


def test_paper_shows_everything(page: Browser) -> None:
    """
    In print what was folded is open, nothing is wider than paper, buttons are gone, and
    paper is not dark.
    """
    page.prefer("dark")
    page.print_media()
    folded = "return document.querySelectorAll('details:not([open])').length"
    before = page.run(folded)
    page.run("dispatchEvent(new Event('beforeprint'))")

    assert before > 0 == page.run(folded)
    page.resize(794, 1123)
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    assert ground(page) == "rgb(251, 251, 250)"
    assert page.run("return document.querySelector('#theme').checkVisibility()") is False
    page.run("dispatchEvent(new Event('afterprint'))")
    assert page.run(folded) == before


def test_everything_can_be_read_without_scripts(page: Browser, written: Path) -> None:
    """
    Where scripts are off the page shows the same, and no button that would do nothing.
    """
    page.devtools("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(written)
        said = page.devtools("Accessibility.getFullAXTree")["nodes"]
    finally:
        page.devtools("Emulation.setScriptExecutionDisabled", value=False)

    names = [one.get("name", {}).get("value", "") for one in said]
    roles = [one.get("role", {}).get("value", "") for one in said]
    assert "Timeline" in names
    assert any(name.startswith("kill-leader: 45") or "kill-leader" in name for name in names)
    assert roles.count("image") >= 10  # charts, each with a name
    assert all(n for n, r in zip(names, roles, strict=True) if r == "image")
    assert "button" not in roles
