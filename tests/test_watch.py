"""What looks on while a training runs."""

import sys

import pytest

from omp_mlp.watch import Watcher


def test_progress_bar_without_tqdm(train_without_work, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(
        ImportError, match=r"progress=True needs tqdm: pip install omp_mlp\[progress\]"
    ):
        train_without_work(progress=True)


def test_rounds_that_are_merged_later_are_not_over_yet():
    """Of a training that is merged in Python, the core's report of a warm-up alone is a round."""
    seen = []
    watcher = Watcher(
        rounds=2, total_samples=30, unmerged_after=10, progress=False, score=None,
        callback=lambda progress: seen.append((progress.round, progress.samples, progress.loss)),
    )  # fmt: skip
    with watcher:
        assert not watcher.after_round({"samples": 10, "loss": 3.0}, None)
        assert not watcher.after_round({"samples": 30, "loss": 2.0}, None)
        assert seen == [(0, 10, 3.0)]
        assert not watcher.merged(30, 2.0, None)
    assert seen == [(0, 10, 3.0), (1, 30, 2.0)]
