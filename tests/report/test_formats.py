"""Every format of a report, with what machines print and what nobody should."""

from __future__ import annotations

import html
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, FormatChecker

from harness.diagnosis.diagnose import diagnose
from harness.diagnosis.evidence import Evidence, MachineState, TransportObservation
from harness.engine.outcome import Observation, Outcome, diagnosis_fields, diagnosis_lines
from harness.report import ctrf, github
from harness.report.document import comparison_json, report_json
from harness.report.html import comparison_html, report_html
from harness.report.junit_cases import MOST, render_cases
from harness.report.markdown import LONGEST, comparison_markdown, report_markdown
from harness.report.markdown import text as markdown_text
from harness.report.read import Run, TargetStory
from harness.report.visible import visible
from harness.soak.compare import compare
from harness.soak.figures import Demand
from harness.soak.recovery import all_spells
from harness.soak.summary import Summary, summarise
from harness.soak.trial import Trial, TrialOutcome, from_document, to_line, trial
from harness.soak.trials import Mark
from harness.transport.errors import Contact
from tests.soak import planted
from tests.soak.planted import Planted
from tests.soak.test_trials import result, some

DEMAND = Demand()
VALIDATOR = Draft7Validator(
    json.loads((Path(__file__).parent / "ctrf-schema-0.0.json").read_text()), format_checker=FormatChecker()
)
EVIL = (
    "</script></style><img src=x onerror=alert(1)>\x1b[2J\x1b[31m\x00\x07\ud800\ufffe]]>&amp; | `x` ::error::\n\n# no"
)


def run_of(trials: list[Trial], marks: tuple[Mark, ...] = (), **changes: object) -> Run:
    iterations: dict[str, int] = {}
    for each in trials:
        iterations[each.target] = max(iterations.get(each.target, 0), each.iteration)
    lasted = max((each.started + each.duration for each in trials), default=planted.START) - planted.START
    run = Run("r1", Path("logs/r1"), planted.START, lasted, tuple(trials), iterations, dict.fromkeys(iterations, 60.0))
    return replace(run, marks=marks, **changes)  # type: ignore[arg-type]


def of(run: Run) -> Summary:
    return summarise(run.trials, run.exposure, run.iterations, DEMAND)


def soak(**changes: object) -> Run:
    plan = Planted(iterations=40, targets=("vm1", "vm2"), failing=0.1, flaky=0.1, drift=2.0, fault_every=7)
    trials, marks = planted.trials(replace(plan, **changes))  # type: ignore[arg-type]
    return run_of(trials, tuple(marks))


def evil(text: str, *, iterations: int = 1) -> Run:
    """A run in which everything that a machine or a person may name is that text."""
    made = [
        some(
            number, target=text, suite=text, check=text, outcome=outcome, flaky=outcome is TrialOutcome.PASSED,
            check_id=text, transports=(text,), attempts=2, seconds=1.0, faults=(text,), message=text, signature=text,
            observations=(Observation(1, 0.5, Outcome.FAILED, text),), console=(text, ""), findings=(text,),
            location=f"{text}:3", repeat=text, collected=text, commands=1, known=text, diagnosis=(text, text),
        )
        for number in range(1, iterations + 1)
        for outcome in (TrialOutcome.FAILED, TrialOutcome.PASSED)
    ]  # fmt: skip
    marks = (Mark(1, text, "finding", text, planted.START, None, text),)
    story = TargetStory(text, settled=text, unreachable=text, stages=((text, 1.0),))
    return run_of(made, marks, run=text, command=text, notes=(text,), stories=(story,))


class Page(HTMLParser):
    """What a browser would make of a page: its tags, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in ("meta", "link", "br", "img"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def sound(page: str) -> Page:
    """A page that says nothing to a browser but what we mean; it needs no other file."""
    page.encode()  # no half characters
    found = Page(page)
    assert not {"script", "img", "iframe", "object", "base", "form"} & set(found.tags)
    assert not [name for name in found.attributes if name.startswith("on")]
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?!data:,)""", re.sub(r"&quot;|&#39;", "", page)) or evil_only(
        page
    )
    assert "\x1b" not in page
    assert "\x00" not in page
    return found


def evil_only(page: str) -> bool:
    """Whether what looks like an address stands in text, where `<` is escaped."""
    return "src" not in Page(page).attributes and page.count('href="') == 1


# -- HTML --------------------------------------------------------------------------------------------------------------


def test_a_page_shows_the_diagnosis_of_what_did_not_pass_the_cause_first() -> None:
    found = diagnose(
        Evidence(
            "vm1",
            (TransportObservation("ssh", Contact.LOGIN_REFUSED, "h:22", "root", "h:22 refused the login"),),
            MachineState("serial", frozenset(("settings",)), 0, settings={"permitrootlogin": ("no",)}),
        )
    )
    for kept in (found.plain(), diagnosis_fields(found.plain())):
        failed = trial(result(Outcome.FAILED, diagnosis=kept))
        run = run_of([from_document(json.loads(to_line(failed)))])
        page = report_html(run, of(run))
        items = re.findall("<li>(.*?)</li>", page.partition('<ul class="diagnosis">')[2].partition("</ul>")[0])
        assert "PermitRootLogin is no" in items[0]
        assert items[0].startswith("<b>")
        assert any(each.startswith("not asked: ") and "who listens" in each for each in items)
    assert 'class="diagnosis"' not in report_html(soak(), of(soak()))


@pytest.mark.parametrize("value", [None, 3, "x", [], [None, 3], {}, {"what": []}, [{"evidence": [None]}], [[{}]]])
def test_a_diagnosis_of_any_shape_gives_lines(value: object) -> None:
    keys = ("headline", "causes", "evidence", "against", "other_causes", "transports", "not_asked")
    assert diagnosis_lines(value) == ()
    for key in keys:
        lines = diagnosis_lines({"headline": "the cause", key: value})
        assert all(isinstance(line, str) and line for line in lines), lines


def test_a_page_has_the_verdict_first_then_what_did_not_pass() -> None:
    run = soak()
    page = report_html(run, of(run))
    text = "".join(sound(page).text)
    order = ["failed", "What did not pass", "Last seen", "Console", "Checks", "Iterations", "Time to settle"]
    order += ["Time line", "Recovery after faults", "Resets", "Drift"]
    places = [text.index(word, text.index("Soak r1") + 1) for word in order]
    assert places == sorted(places)
    assert "takes longer and longer to settle" in text
    spell = all_spells(run.marks, "recovery")
    assert spell is not None
    assert spell.count > spell.ended > 0, "some did not recover"
    assert f"median of {spell.count}" in text, "what did not recover counts in the headline"
    assert "Failed to start <b>sshd</b>" in text, "a console's words are shown as they were"
    assert "\x1b" not in page


def test_a_known_flake_is_told_with_its_tracker() -> None:
    run = run_of([some(1), some(2, flaky=True, message="late", signature="late", known="https://example.org/42")])
    summary = of(run)
    assert summary.verdict.sentence == "1 of 2 verdicts flaky; 1 of what did not pass cleanly is known."
    assert summary.clusters[0].known == ("https://example.org/42",)
    assert "known: https://example.org/42" in "".join(sound(report_html(run, summary)).text)
    assert "known: https://example.org/42" in render_cases(run)
    assert json.loads(report_json(run, summary))["clusters"][0]["known"] == ["https://example.org/42"]


def test_what_befell_a_target_is_told_once_with_how_often() -> None:
    marks = [Mark(1, "vm1", "fallback", "serial", planted.START + n, text=f"vm1: port {n} closed") for n in range(9)]
    marks.append(Mark(1, "vm1", "finding", "oom_kill", planted.START, text="Out of memory: Killed process 9"))
    run = run_of([some(1)], tuple(marks))
    text = " ".join(" ".join(sound(report_html(run, of(run))).text).split())
    assert "fallback serial 9 vm1: port 0 closed" in text
    assert "finding oom_kill 1 Out of memory: Killed process 9" in text


def test_a_run_is_no_soak_and_has_a_simple_page() -> None:
    run = run_of([some(1), some(1, check="other", outcome=TrialOutcome.FAILED, message="it is down")])
    text = "".join(sound(report_html(run, of(run))).text)
    assert "it is down" in text
    assert "1 of 2 trials failed, in 1 of 2 checks." in text
    for word in ("Iterations", "Time to settle", "Drift"):
        assert word not in text


def test_a_page_of_a_thousand_iterations_stays_small() -> None:
    trials, marks = planted.trials(Planted(iterations=1000, failing=0.05, fault_every=5))
    run = run_of(trials, tuple(marks))
    page = report_html(run, of(run))
    assert len(page) < 400_000
    assert "Each column stands for 4 iterations" in page
    sound(page)


def test_a_run_of_many_checks_shows_what_did_not_pass_and_stays_small() -> None:
    made = [some(1, target=f"vm{n}", check=f"c{k}") for n in range(60) for k in range(20)]
    run = run_of([*made, some(1, target="vm0", check="last", outcome=TrialOutcome.FAILED, message="it is down")])
    page = report_html(run, of(run))
    text = "".join(sound(page).text)
    assert len(page) < 400_000
    assert "801 more checks" in text
    assert text.index("suite::last", text.index("Checks")) < text.index("suite::c0", text.index("Checks"))


def test_a_soak_in_which_all_fails_stays_small() -> None:
    made = [
        some(n, check=f"c{k}", outcome=TrialOutcome.FAILED, message=f"failure {'x' * (n % 97)}", signature=f"{n % 97}",
             console=("line",) * 50)
        for n in range(1, 1001)
        for k in range(5)
    ]  # fmt: skip
    run = run_of(made)
    page = report_html(run, of(run))
    assert len(page) < 600_000
    assert "37 more kinds of failure are not shown" in page
    assert len(report_markdown(run, of(run)).encode()) < LONGEST + 1000


def test_nothing_at_all_is_a_page() -> None:
    run = run_of([])
    assert "No trial was finished" in report_html(run, of(run))


def test_pages_are_for_light_and_dark_and_print_and_phones() -> None:
    run = soak()
    page = report_html(run, of(run))
    for word in ("prefers-color-scheme: dark", "@media print", "width=device-width", "default-src 'none'"):
        assert word in page


# -- for programs ------------------------------------------------------------------------------------------------------


def test_json_has_all_figures() -> None:
    run = soak()
    document = json.loads(report_json(run, of(run)))
    assert document["schema"] == "harness.report/1"
    assert document["total"]["trials"] == 960
    (row,) = [each for each in document["checks"] if (each["check"], each["target"]) == (planted.FLAKY, "vm1")]
    assert row["flaky_rate"]["low"] < row["flaky_rate"]["value"] < row["flaky_rate"]["high"]
    assert row["settle"]["p50"]["low"] <= row["settle"]["p50"]["value"] <= row["settle"]["p50"]["high"]
    assert document["by_transport"]
    assert document["clusters"][0]["example"]["console"]
    assert [(each["name"], each["count"]) for each in document["resets"]] == [("snapshot", 80)]
    assert sum(each["count"] for each in document["recoveries"]) == 10


def test_junit_tells_failures_and_flaky_passes() -> None:
    root = ET.fromstring(render_cases(soak()))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("24", "2", "0")
    assert [suite.get("name") for suite in root] == ["vm1", "vm2"]
    for suite in root:
        flaky = suite.findall(f"testcase[@name='{planted.FLAKY.partition('::')[2]}']/flakyFailure")
        assert flaky
        assert all(each.get("type") == "flaky" for each in flaky)
        assert "closed the connection before its banner" in (flaky[0].findtext("stackTrace") or "")
        (failure,) = suite.findall("testcase/failure")
        assert "of 40 trials failed; the last: " in (failure.get("message") or "")


def test_junit_tells_no_more_than_is_read() -> None:
    made = [some(n, flaky=True, message="late") for n in range(1, 101)]
    (case,) = ET.fromstring(render_cases(run_of(made))).iter("testcase")
    assert len(case.findall("flakyFailure")) == MOST
    assert case.findtext("system-out") == "80 more flaky trials are not told here"


@pytest.mark.parametrize(
    ("outcome", "tag"),
    [("failed", "failure"), ("error", "error"), ("unreachable", "error"), ("infrastructure", "error"),
     ("internal", "error"), ("skipped", "skipped")],
)  # fmt: skip
def test_each_outcome_has_its_element(outcome: str, tag: str) -> None:
    run = run_of([some(1, outcome=TrialOutcome(outcome), message="why")])
    (case,) = ET.fromstring(render_cases(run)).iter("testcase")
    assert [child.tag for child in case] == ["properties", tag]
    assert case[1].get("message") == "why"
    document = json.loads(ctrf.render(run, of(run), 1e9))
    VALIDATOR.validate(document)
    (test,) = document["results"]["tests"]
    assert test["rawStatus"] == outcome
    assert test["status"] == {"failed": "failed", "skipped": "skipped"}.get(outcome, "other")


def test_ctrf_follows_its_schema_for_runs_and_soaks() -> None:
    run = soak()
    document = json.loads(ctrf.render(run, of(run), 1e9))
    VALIDATOR.validate(document)
    summary = document["results"]["summary"]
    assert (summary["tests"], summary["failed"], summary["flaky"]) == (24, 2, 2)
    single = run_of([some(1, flaky=True, attempts=3,
                          observations=(Observation(2, 0.5, Outcome.FAILED, "no"), Observation(3, 1.0, Outcome.PASSED, "")))])  # fmt: skip  # noqa: E501
    document = json.loads(ctrf.render(single, of(single), 1e9))
    VALIDATOR.validate(document)
    (test,) = document["results"]["tests"]
    assert (test["flaky"], test["retries"]) == (True, 2)
    assert test["retryAttempts"] == [{"attempt": 2, "status": "failed", "message": "no"}]


def test_the_schema_would_find_a_mistake() -> None:
    run = soak()
    document = json.loads(ctrf.render(run, of(run), 1e9))
    document["results"]["tests"][0]["status"] = "broken"
    assert list(VALIDATOR.iter_errors(document))


# -- Markdown and GitHub -----------------------------------------------------------------------------------------------


def test_markdown_has_the_verdict_and_the_failures() -> None:
    run = soak()
    page = report_markdown(run, of(run))
    assert page.startswith("## ❌ Soak r1: failed\n")
    assert "<details>" in page
    assert "### Checks that are not clean" in page
    assert "- Drift: sshd/inside::unit_settled on vm1 takes longer and longer" in page


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("*a* _b_ `c` <d> [e](f) |g| #1 @h ~i~ $j$ &amp; \\", None),
        ("sshd/inside::unit_settled on vm1: 127.0.0.1:22, 3-4 'x' \"y\" (z)!", "as it is"),
        ("a :smile: b", "a &#58;smile: b"),
        ("two\n\nlines", "two lines"),
    ],
)
def test_text_is_nothing_but_text_in_markdown_and_stays_readable(text: str, markdown: str | None) -> None:
    found = markdown_text(text)
    assert html.unescape(found) == " ".join(text.split())
    if markdown is None:
        assert not set("*_`<>[]|@~$\\") & set(found)
    else:
        assert found == (text if markdown == "as it is" else markdown)


def test_annotations_point_at_the_check_and_are_few() -> None:
    run = soak()
    lines = github.annotate(run, Path("/work"))
    errors = [line for line in lines if line.startswith("::error ")]
    warnings = [line for line in lines if line.startswith("::warning ")]
    assert (len(errors), len(warnings)) == (2, 2)
    assert errors[0].startswith(
        "::error file=checks/sshd/inside.py,line=22,title=sshd/inside%3A%3Ajournal_clean on vm1::"
    )
    many = run_of([some(1, check=f"c{n}", outcome=TrialOutcome.FAILED) for n in range(25)])
    lines = github.annotate(many, Path("/work"))
    assert len(lines) == github.MOST + 1
    assert lines[-1].startswith("::notice title=harness::15 more")


def test_the_jobs_summary_is_added_to(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    github.add_summary({}, "nothing to write to")
    for word in ("one", "two"):
        github.add_summary({"GITHUB_STEP_SUMMARY": str(path)}, word)
    assert path.read_text() == "one\ntwo\n"


# -- what nobody should print ------------------------------------------------------------------------------------------


def test_colour_codes_go_and_other_controls_are_shown() -> None:
    assert visible("\x1b[31mred\x1b[0m\r\r\n\x1b]0;title\x07\x08\u202e\ud800\tx\r") == "red\n\\x08\\x202e\\xd800\tx"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text(st.characters(), max_size=60)
    | st.sampled_from([EVIL, "", "\\", "%0A", "a,b:c", "|", "-->", "\r", "\u2028"])
)
def test_no_text_breaks_a_format(text: str) -> None:
    for iterations in (1, 2):
        run = evil(text, iterations=iterations)
        summary = of(run)
        sound(report_html(run, summary))
        ET.fromstring(render_cases(run).encode())
        if text:
            VALIDATOR.validate(json.loads(ctrf.render(run, summary, 1e9)))
        json.loads(report_json(run, summary))
        markdown = report_markdown(run, summary)
        markdown.encode()
        assert not re.search(r"<(?!/?(?:details|summary|pre|code)>)", markdown), "no tag but ours"
        for line in github.annotate(run, Path("/work")):
            line.encode()
            assert line.splitlines() == [line]
            assert line.count("::") >= 2


def test_no_text_breaks_a_comparison() -> None:
    for text in (EVIL, "plain", "\x1b]0;x\x07"):
        run = evil(text, iterations=3)
        found = compare(run.trials, run.trials, DEMAND)
        sound(comparison_html(run, run, found))
        json.loads(comparison_json(run, run, found))
        assert not re.search(r"<(?!/?(?:details|summary|pre|code)>)", comparison_markdown(run, run, found))


def test_a_comparison_is_told_in_all_its_formats() -> None:
    one, two = soak(), soak(failing=0.6, seed=5)
    found = compare(one.trials, two.trials, DEMAND)
    assert found.verdict.value == "worse"
    text = "".join(sound(comparison_html(one, two, found)).text)
    assert "it passes less often" in text
    document = json.loads(comparison_json(one, two, found))
    assert document["verdict"] == "worse"
    assert document["checks"][0]["rate_difference"]["high"] < 0
    assert "❌ worse: it passes less often" in comparison_markdown(one, two, found)
