"""The tables of randomized smoothing are made from records alone."""


def test_tables_show_shares_and_what_early_abort_gives_up() -> None:
    from smoothing_table import render

    cell = {"network": "denoised", "training": 0.0, "sigma": 0.5, "n": 200, "selection": 100}
    cell |= {"draws": 1000, "alpha": 0.001, "seed": 0}
    certified = {"0": 190, "0.5": 150}
    row = {
        "cell": cell,
        "clean_without_noise": 198,
        "all_draws": {"seconds": 20.0, "certified": certified},
        "early_abort": {
            "seconds": 8.0, "certified": certified, "eps": 0.5, "given_up": 40, "lost": 0,
        },
    }  # fmt: skip
    text = render([row])
    assert "| denoised | 0 | 0.5 | 99.0 % [96.4, 99.7] | 95.0 %" in text
    assert "| denoised | 0.5 | 150 | 40 | 0 | 20.0 | 8.0 |" in text
    assert "no radius beyond 0.62" in " ".join(text.split())
    assert render([]) == "# Randomized smoothing\n"
