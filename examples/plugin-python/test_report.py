import unittest

import report

REPORT = """<?xml version="1.0"?>
<!-- <testcase name="not one"/> -->
<testsuite name="cart">
  <testcase classname="cart" name="a &amp; b" time="0.25"/>
  <testcase classname="cart" name="c" time="1.5"><failure message="2 &#60; 3"><![CDATA[</x>]]></failure></testcase>
  <testcase name="d" time="-"><skipped/></testcase>
  <testcase name="e"><error/></testcase>
</testsuite>"""


class ReportTest(unittest.TestCase):
    def test_a_report_is_counted(self):
        found = report.parse(REPORT)
        self.assertEqual([test.name for test in found.tests], ["cart.a & b", "cart.c", "d", "e"])
        self.assertEqual([test.problem for test in found.failed()], ["2 < 3", "no message"])
        self.assertEqual([test.name for test in found.skipped()], ["d"])
        self.assertEqual([test.milliseconds for test in found.slowest()], [1500, 250])
        self.assertEqual(found.seconds(), 1.75)

    def test_a_summary_names_what_failed_and_what_was_slow(self):
        lines = report.summary(report.parse(REPORT), 3).splitlines()
        for line in [
            "# 2 of 4 tests failed",
            "| 4 | 2 | 1 | 1.750 |",
            "- cart.c: 2 < 3",
            "- 1.500 s: cart.c",
            "The command ended with exit code 3.",
        ]:
            self.assertIn(line, lines)

    def test_what_is_no_report_is_told(self):
        for text, why in [("", "no XML"), ("<html></html>", "begins with <html>"), ("<testsuite>", "no XML")]:
            with self.assertRaisesRegex(ValueError, why):
                report.parse(text)


if __name__ == "__main__":
    unittest.main()
