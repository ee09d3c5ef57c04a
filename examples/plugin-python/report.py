"""Reads JUnit XML and writes what it says as Markdown. Knows nothing of the engine, so that plain Python can test it."""

from dataclasses import dataclass
from xml.etree import ElementTree

# More of them are no summary any more.
MAX_SLOWEST = 3


@dataclass
class Test:
    """A test as the report has it; `problem` says why it failed."""

    name: str
    milliseconds: int
    is_skipped: bool
    problem: str | None


@dataclass
class Report:
    """All tests of a report, in its order."""

    tests: list[Test]

    def failed(self) -> list[Test]:
        return [test for test in self.tests if test.problem is not None]

    def skipped(self) -> list[Test]:
        return [test for test in self.tests if test.is_skipped]

    def slowest(self) -> list[Test]:
        timed = [test for test in self.tests if test.milliseconds > 0]
        return sorted(timed, key=lambda test: -test.milliseconds)[:MAX_SLOWEST]

    def seconds(self) -> float:
        return sum(test.milliseconds for test in self.tests) / 1000


def parse(text: str) -> Report:
    """The report of a JUnit XML; `ValueError` says what is wrong with it."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"it is no XML: {error}") from None
    if root.tag not in ("testsuites", "testsuite"):
        raise ValueError(f"it begins with <{root.tag}>, not with <testsuites> or <testsuite>")
    return Report([_test(case) for case in root.iter("testcase")])


def _test(case: ElementTree.Element) -> Test:
    parts = [case.get("classname"), case.get("name")]
    problem = next((child for child in case if child.tag in ("failure", "error")), None)
    return Test(
        name=".".join(part for part in parts if part),
        milliseconds=_milliseconds(case.get("time")),
        is_skipped=case.find("skipped") is not None,
        problem=None if problem is None else problem.get("message") or "no message",
    )


def _milliseconds(seconds: str | None) -> int:
    """Zero for what is no number, as some tools write nothing there."""
    try:
        return round(float(seconds or 0) * 1000)
    except ValueError:
        return 0


def summary(report: Report, exit_code: int) -> str:
    """The report for a person, with how the container ended that looked at it."""
    failed = report.failed()
    lines = [
        f"# {len(failed)} of {len(report.tests)} tests failed",
        "",
        "| tests | failed | skipped | seconds |",
        "|---|---|---|---|",
        f"| {len(report.tests)} | {len(failed)} | {len(report.skipped())} | {report.seconds():.3f} |",
    ]
    if failed:
        lines += ["", "Failed:", ""] + [f"- {test.name}: {test.problem}" for test in failed]
    slowest = report.slowest()
    if slowest:
        lines += ["", "Slowest:", ""] + [f"- {test.milliseconds / 1000:.3f} s: {test.name}" for test in slowest]
    lines += ["", f"The command ended with exit code {exit_code}."]
    return "\n".join(lines) + "\n"
