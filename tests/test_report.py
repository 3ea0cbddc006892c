"""The report that is worded by results.json, as PDF and as a page."""

import copy
import re

import made_up
import pytest
import typst

from labkit import files, report, verdicts
from labkit.errors import LabkitError


def test_the_main_findings_are_said_to_be_borne_out_if_all_are(worded):
    """In the conclusion, and those about lungs in the abstract too."""
    text = worded()
    assert "main findings are borne out: on lungs the IoU is above 0.95 with both losses" in text
    assert "As in the reference, the IoU on lungs is above 0.95" in text
    for turned in ({"lung_bce": (0.952, 0.015, 0, 1)}, {"intervals": {"lung_iou": (-0.01, 0.01)}}):
        text = worded(verdicts=made_up.reached(**turned))
        assert "Not all of the reference’s main findings (an IoU above 0.95 on lungs" in text.replace("'", "’")
        assert "The reference found an IoU above 0.95 on lungs" in text and "As in the reference, the IoU" not in text
    harder = worded(verdicts=made_up.reached() | {"infection_harder": False})
    assert "Not all of the reference" in harder and "As in the reference, the IoU on lungs is above 0.95" in harder


def test_steady_convergence_is_counted(worded):
    runs = made_up.runs()
    runs["lung-bce"]["val_loss_falls"] = 5
    assert "fell from one epoch to the next 5 of 9 times with BCE and 7 of 9 times with BCE+IoU" in worded(runs=runs)
    runs["lung-bce"]["epochs"] = 1
    assert "converge steadily" not in worded(runs=runs)


@pytest.mark.parametrize(
    ("plateau", "said"),
    [
        ("falling", "was getting worse when training ended"),
        ("unsteady", "by +0.100 ± 0.010 (standard error): the epochs are too unsteady to tell"),
        ("short", "With fewer than ten epochs the curve is too short"),
    ],
)
def test_other_ends_of_a_curve(worded, plateau, said):
    assert said in worded(verdicts=made_up.reached() | {"plateau": plateau})


def test_nothing_for_the_overlap_loss(worded):
    names = ("lung_mae", "infection_iou", "infection_mae", "infection_excess", "infection_asd")
    intervals = dict.fromkeys(names, (-0.1, 0.1))
    text = worded(verdicts=made_up.reached(intervals=intervals), comparisons=made_up.compared(**intervals))
    assert (
        "neither overlap nor MAE nor outlines nor calibration speak for BCE+IoU. What speaks against it is the higher Brier "
        "score on infections." in text
    )


def test_a_lower_mae_of_probabilities_alone_is_told_as_that(worded):
    intervals = {"infection_hard_mae": (-0.02, 0.01)}
    assert "the lower MAE on lungs (of probabilities, not of masks), the lower MAE on infections and" in worded()
    text = worded(verdicts=made_up.reached(intervals=intervals), comparisons=made_up.compared(**intervals))
    assert "the lower MAE on infections (of probabilities, not of masks)" in text


def test_what_speaks_against_the_overlap_loss(worded):
    worse = {
        "lung_iou": (-0.2, -0.1),
        "infection_iou": (-0.2, -0.1),
        "lung_mae": (0.1, 0.2),
        "infection_mae": (0.1, 0.2),
        "lung_asd": (0.1, 0.2),
    }
    assert (
        "What speaks against it is the overlap on lungs, the overlap on infections, the higher MAE on lungs, the higher MAE on "
        "infections, the higher Brier score on infections, the outlines further off on lungs and the over-confidence on "
        "infections."
    ) in worded(verdicts=made_up.reached(intervals=worse), comparisons=made_up.compared(**worse))
    better = {"infection_brier": (-0.2, -0.1), "infection_excess": (-0.1, 0.1)}
    text = worded(verdicts=made_up.reached(intervals=better), comparisons=made_up.compared(**better))
    assert "the lower Brier score on infections and the nearer outlines on infections." in text
    assert "speaks against" not in text


def test_thresholds_are_stated_as_they_are(worded):
    other = {
        "far_iou": 0.2,
        "small_share": 0.3,
        "much_smaller": 0.4,
        "rising_iou": 0.07,
        "high_iou": 0.9,
        "mostly_located": 0.8,
        "mostly_empty": 0.7,
        "excess": 0.02,
        "alike": 0.3,
    }
    text = worded(thresholds=verdicts.THRESHOLDS | other)
    assert text.count("above 0.9 ") == 3 and "do not have that in 80 % or more" in text
    assert (
        "more than 0.2 below" in text
        and "under 30 %" in text
        and "much under 40 %" in text
        and "more than 0.07 above" in text
    )
    assert "finds nothing in more than 70 % of" in text and "change by less than 2.0 counts neither" in text
    assert "(by more than 0.3)" in text


def test_numbers_come_from_the_results(worded):
    runs = made_up.runs(lung_bce=(0.1234, 0.4321, 0), infection_bce_iou=(0.5678, 0.8765, 0))
    text = worded(runs=runs)
    for number in ("0.1234", "0.4321", "0.5678", "0.8765", "0.123 (BCE)", "is 0.588 instead of 0.568"):
        assert number in text
    for reported in ("0.0274", "0.0243", "0.0151", "0.9570", "0.4105", "0.4020", "0.0438", "0.3714"):
        assert reported in text


def test_leaks_are_told(worded):
    text = worded()
    assert text.count("No scored test film stands in another split.") == 2
    assert "The same without the test films" not in text
    runs = made_up.runs()
    runs["infection-bce_iou"]["leaked"] = 2
    runs["infection-bce_iou"]["test_without_leaked"]["iou"] = 0.3456
    text = worded(("pdf", "html"), runs=runs)
    assert "2 scored test films stand in another split too; without them, the test IoU of BCE+IoU is 0.346" in text
    assert "The same without the test films that also stand in another split" in text
    runs["infection-bce_iou"]["test_without_leaked"]["iou"] = None
    assert "without them there is none left to score" in worded(runs=runs)
    assert "pairs show" not in text and "1 pair shows the same picture" in text
    assert text.count("1 across splits; its two masks have an IoU of 0.88") == 2
    two = {
        "lung": copy.deepcopy(made_up.results()["films"]["lung"]),
        "infection": copy.deepcopy(made_up.results()["films"]["lung"]),
    }
    for task in two:
        two[task]["audit"] |= {"pairs": 2}
    two["lung"]["audit"]["mask_iou"] = None
    text = worded(films=two)
    assert "1 across splits. " in text and text.count("the two masks of a pair have an IoU of") == 1
    assert "0.88 in the mean (pairs of controls left out)." in text


def test_structure_of_the_page(worded):
    text = worded()
    page = worded.page
    sections = ["Introduction", "Exploratory Data Analysis", "Methods", "Results"]
    sections += ["Results Beyond the Reference", "Discussion", "Conclusion"]
    assert re.findall(r"<h2[^>]*>[IV]+\. ([^<]+)</h2>", page) == sections
    assert page.count("<table>") == 6
    assert [f"Table {number}:" in text for number in ("I", "II", "III", "IV", "V", "VI")] == [True] * 6
    shown = 10
    assert len(report.pictures()) - 1 == shown  # but for that of experiments beside the reference's four
    assert [f"Fig. {number}:" in text for number in ("A1", "A2", *range(1, shown - 1))] == [True] * shown
    assert "<math" in page and 'class="equation"' in page and "(1)" in text
    assert page.count("<img") == page.count('alt="') == shown and 'src="http' not in page
    assert "viewport" in page and "max-width" in page
    assert "Synthetic data" not in text


def test_the_appendix_defines_every_score_of_single_films():
    listed = re.search(r"#let definitions = \(\n(.*?)\n\)\n", (files.ROOT / "report" / "report.typ").read_text(), re.S)[
        1
    ]
    assert sorted(re.findall(r'\], "(\w+)", \d\),$', listed, re.M)) == sorted(made_up.FILM_SCORES)


def test_films_of_ones_own_are_not_called_covid_qu_ex(worded):
    theirs = "The collection has no patient numbers"
    assert "chest X-rays from COVID-QU-Ex" in worded() and theirs in worded()
    text = worded(collection="our hospital")
    assert "chest X-rays from our hospital" in text and "films of our hospital in the folder" in text
    assert "chest X-rays from COVID-QU-Ex" not in text and theirs not in text and "Of the whole collection" not in text


def test_phantoms_are_announced_and_settings_told(worded):
    text = worded(phantom=True)
    assert text.index("Synthetic data.") < text.index("Abstract.")
    assert "epochs 10 7 8" in text
    # With the reference's own settings there is no such table, and the text says so.
    text = worded(("pdf", "html"), settings=[])
    assert (
        "Settings that differ from the reference" not in text
        and "All settings here are the reference's" in text.replace("’", "'")
    )


def test_guards(worded):
    runs = made_up.runs()
    runs["infection-bce"]["test"]["iou"] = None
    with pytest.raises(LabkitError, match="infection-bce has no IoU"):
        worded(runs=runs)
    wrong = dict(made_up.reached())
    del wrong["infection_harder"]
    with pytest.raises(LabkitError, match="infection_harder"):
        worded(verdicts=wrong)


def test_pages_that_typst_cannot_tag_are_made_without_tags(worded, made_up_report, monkeypatch, capsys):
    class Compiler:
        """typst's, but that it fails to tag letters of some sizes."""

        def __init__(self, *given, **more):
            self.compiler = Typst(*given, **more)

        def compile(self, format, sys_inputs, pdf_tags=True):
            if format == "pdf" and pdf_tags and int(sys_inputs["smaller"]) < fails:
                error = typst.TypstError()
                error.message = (
                    "internal error: parent group (occurred at crates/typst-pdf/src/tags/tree/build.rs:202:14)"
                )
                raise error
            return self.compiler.compile(format=format, sys_inputs=sys_inputs, pdf_tags=pdf_tags)

    Typst = typst.Compiler
    worded(kinds=("pdf", "html"))
    monkeypatch.setattr(report.typst, "Compiler", Compiler)
    for fails, tags in ((0, True), (report.SIZES - 1, True), (report.SIZES, False)):
        pdf, page = (path.read_bytes() for path in report.render("made", made_up_report))
        assert pdf.startswith(b"%PDF") and page.decode() == worded.page
        assert (b"/StructTreeRoot" in pdf) == tags
        assert ("report.pdf has no tags for screen readers" in capsys.readouterr().out) == (not tags)


def test_nothing_from_data_is_markup(worded):
    text = worded(data='#panic("x") $x$ *a* <b>', about="_a_ #b @c")
    assert '#panic("x") $x$ *a*'.replace('"', "&quot;") in text or '#panic("x") $x$ *a*' in text
    assert "_a_ #b @c" in text


def test_results_that_are_not_there(tmp_path):
    with pytest.raises(LabkitError, match="results.json: is not there yet"):
        report.render("nothing", root=tmp_path)


def test_what_cannot_be_compared_is_told_as_that(worded):
    """As where BCE predicts nothing: no confident pixel, and no mask whose place is found."""
    compared = made_up.compared()
    compared["lung"]["asd"] |= {"low": None, "high": None, "count": 1, "verdict": "none"}
    nothing = {"mean": None, "low": None, "high": None, "first": None, "second": None, "count": 0, "p_adjusted": None}
    for score in ("asd", "excess"):
        compared["infection"][score] |= nothing | {"verdict": "none"}
    text = worded(comparisons=compared)
    assert "for the 10 tests made" in text and "for the 12 tests made" in worded()
    assert "On infections there is no such film." in text
    assert (
        "On lungs, 1 such film, the outlines are" in text and "(mean difference 0.000 , no interval, adjusted p" in text
    )
    assert (
        "On infections, film by film, that cannot be compared, for no film has such pixels with both losses, and"
        in text
    )
    runs = made_up.runs()
    runs["infection-bce"]["test"]["severity"] = {"films": 0} | dict.fromkeys(runs["infection-bce"]["test"]["severity"])
    runs["infection-bce"]["asd_where_located"] = {"mean": None, "low": None, "high": None, "count": 0}
    text = worded(runs=runs, verdicts=made_up.reached() | {"outlines_harder": False})
    assert "With BCE it is not known, for no test film has a lung mask." in text
    assert "the outlines are – and 1.6 pixels off" in text and "overlap)" not in text
