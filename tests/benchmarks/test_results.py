"""The page of results and the README's table, as results.json gives them."""

import results
from record import read_results


def test_every_figure_is_on_the_page():
    page = results.page()
    for row in read_results():
        assert results._text(row["value"], row["metric"]) in page
        assert row["command"] in page


def test_the_headlines_are_at_most_ten_and_of_whole_trainings():
    table = results.headlines().splitlines()
    assert len(table) == 2 + len(results.HEADLINES) <= 12
    assert "cut short" not in results.headlines()


def test_rates_are_in_percent_and_short_times_in_milliseconds():
    assert results._text(0.015833, "error") == "1.58%"
    assert results._text(0.0045, "identify_p99_seconds") == "4.50 ms"
    assert results._text(0.75, "pearson") == "0.750"
    assert results._title("frr_at_far_0.01") == "FRR at FAR 1%"
    assert results._title("fpir_20_stated_0.05") == "FPIR among 20 stated 5%"
