"""Watch a training: callback, progress bar, validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import numpy as np

from omp_mlp.checks import FloatArray
from omp_mlp.early_stopping import Judge
from omp_mlp.extras import imported
from omp_mlp.history import Progress
from omp_mlp.state import Arrays, TrainingState

Callback = Callable[[Progress], object]
Keep = Callable[[Arrays, Arrays, dict[str, Any] | None], None]
"""Takes the core's arrays, what was seen here, and what the judge has seen."""
Validation = list[tuple[float, float]]
Score = Callable[[FloatArray], tuple[float, float]]  # parameters of the master -> (loss, score)

_NOT_SCORED = (math.nan, math.nan)


class Watcher:
    """Turns what the core reports into validation scores, callbacks and a progress bar."""

    def __init__(
        self,
        *,
        rounds: int,
        total_samples: int,
        unmerged_after: int | None,
        callback: Callback | None,
        progress: bool,
        score: Score | None,
        score_every: int,
        judge: Judge | None,
        judged_loss: Callable[[FloatArray], float] | None = None,
        loss_unit: float = 1.0,
        network: Callable[[FloatArray], object] | None = None,
        judge_first: Callable[[FloatArray], None] | None = None,
        keep: Keep | None = None,
        keep_every: int = 1,
        is_one_of_many: bool = False,
    ) -> None:
        self.validation: Validation = []  # an entry a round; NaN: not scored
        self._rounds = rounds
        self._total_samples = total_samples
        self._unmerged_after = unmerged_after  # samples; those rounds are not over with the core's
        self._callback = callback
        self._score = score
        self._score_every = score_every  # rounds; the last round is scored in any case
        self._judge = judge
        self._judged_loss = judged_loss  # parameters of the core -> what is judged; None: the loss
        self._stopped_within = False
        self._last_score: float | None = None  # what the bar shows
        self._loss_unit = loss_unit  # what a loss of 1 is in the units of y
        self._network = network  # parameters of the core -> the network as the user gets it
        self.after_first_round = judge_first  # parameters of the core -> warnings
        self._make_model: Callable[[], object] | None = None  # of the last master
        self._samples_merged = 0
        self._round = 0
        # Ranks have the same scores: one of them alone does not score because it is to stop.
        self._is_one_of_many = is_one_of_many
        self._keep = keep  # takes a state that the training can go on from
        self._keep_every = keep_every  # rounds; after the last one, too
        self._is_judged = False  # whether early stopping has ended the training
        self._seen: tuple[Validation, dict[str, Any] | None] | None = None
        self._bar = _progress_bar(total_samples) if progress else None

    def go_on(self, state: TrainingState) -> None:
        """Take over what was seen before a state was kept."""
        if not self.watches_rounds:
            return
        scores = state._watched["validation"]
        self.validation = [(loss, score) for loss, score in scores.reshape(-1, 2).tolist()]
        self._round, self._samples_merged = state.round, state.samples
        known = [score for _, score in self.validation if not math.isnan(score)]
        self._last_score = known[-1] if known else None
        if self._judge is not None and state._judge is not None:
            self._judge.go_on(state._judge, state._watched.get("best"))

    @property
    def watches_within(self) -> bool:
        """Whether anybody wants to look into a round that goes on."""
        return self._callback is not None or self._bar is not None

    @property
    def watches_rounds(self) -> bool:
        """Whether anybody wants to know of the end of a round."""
        return self.watches_within or self._score is not None or self.keeps_states

    @property
    def keeps_states(self) -> bool:
        """Whether states are kept to go on from."""
        return self._keep is not None

    def after_round(self, report: Mapping[str, float], packed: FloatArray) -> bool:
        """Score the new master and report; return whether the training should stop."""
        samples = int(report["samples"])
        if self._unmerged_after is not None and samples > self._unmerged_after:
            return False
        is_scored = self._score is not None and self._is_due()
        validation = self._score(packed) if self._score is not None and is_scored else _NOT_SCORED
        network = self._network
        make = None if network is None else lambda: network(packed)
        stop = self.merged(samples, report["loss"], validation, make)
        self._seen = None
        if stop and self._score is not None and not is_scored and not self._is_one_of_many:
            self._seen = self._all_seen()  # a training that goes on from here does not score this
            self.validation[-1] = self._score(packed)
            is_scored = True
        if self._judge is None or not is_scored:
            return stop
        self._is_judged = self._ask(self._judge, packed)
        return self._is_judged or stop

    def _ask(self, judge: Judge, packed: FloatArray) -> bool:
        """Let the last round be judged, which was scored; return whether to stop."""
        number, (loss, _) = len(self.validation) - 1, self.validation[-1]
        judged = loss if self._judged_loss is None else self._judged_loss(packed)
        return judge.judge(number, judged, packed)

    def keep_state(self, is_last: bool, take: Callable[[], Arrays]) -> None:
        """Keep the state after a round, if it is time for that.

        What early stopping ends is over: nothing goes on from there.
        """
        is_due = is_last or self._round % self._keep_every == 0
        if self._keep is None or self._is_judged or not is_due:
            return
        validation, judged = self._seen or self._all_seen()
        watched: Arrays = {"validation": np.array(validation, dtype=np.float64).reshape(-1)}
        if self._judge is not None and self._judge.best is not None:
            watched["best"] = self._judge.best
        self._keep(take(), watched, judged)

    def _all_seen(self) -> tuple[Validation, dict[str, Any] | None]:
        judge = self._judge
        return list(self.validation), None if judge is None else judge.as_dict()

    def end(self, packed: FloatArray) -> None:
        """Score the last round after all, if it came before the one that was to be the last."""
        if self._score is None or not self.validation or not math.isnan(self.validation[-1][0]):
            return
        self.validation[-1] = self._score(packed)
        if self._judge is not None:
            self._ask(self._judge, packed)

    def _is_due(self) -> bool:
        number = self._round + 1
        is_cut_short = self._stopped_within and not self._is_one_of_many
        is_last = is_cut_short or number == self._rounds
        return is_last or number % self._score_every == 0

    def merged(
        self,
        samples: int,
        loss: float,
        validation: tuple[float, float] | None,
        make_model: Callable[[], object] | None = None,
    ) -> bool:
        """Report a merge, with validation loss and score; return whether the training should stop.

        ``make_model`` makes the merged network. This ends a round for a merge that Python does
        after the core has returned.
        """
        validation = validation or _NOT_SCORED
        self.validation.append(validation)
        if not math.isnan(validation[1]):
            self._last_score = validation[1]
        self._samples_merged = samples
        self._make_model = make_model
        stop = self._report(True, samples, loss, *validation)
        self._round += 1
        return stop

    def during_round(self, samples: int, loss_sum: float) -> bool:
        """Report on a round that goes on; return whether the training should stop."""
        stop = samples > 0 and self._report(
            False, self._samples_merged + samples, loss_sum / samples
        )
        self._stopped_within = self._stopped_within or stop
        return stop

    def _report(self, merged: bool, samples: int, loss: float, *validation: float) -> bool:
        loss *= self._loss_unit
        if self._bar is not None:
            shown = {"loss": f"{loss:.4f}"}
            if merged and self._last_score is not None:
                shown["validation"] = f"{self._last_score:.4f}"
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(samples - self._bar.n)
        if self._callback is None:
            return False
        report = Progress(
            self._round, self._rounds, merged, samples, self._total_samples, loss, *validation
        )
        object.__setattr__(report, "_make_model", self._make_model)
        answer = self._callback(report)
        return isinstance(answer, (bool, np.bool_)) and bool(answer)

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def _progress_bar(total_samples: int) -> Any:  # noqa: ANN401 - tqdm has no types
    tqdm = imported("tqdm.auto", "progress=True", "tqdm", "progress").tqdm
    return tqdm(total=total_samples, unit=" samples", unit_scale=True)
