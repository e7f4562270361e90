"""Read networks from files, whatever kind of network a file has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from omp_mlp import files
from omp_mlp.ensemble import FORMAT as ENSEMBLE_FORMAT
from omp_mlp.ensemble import Ensemble
from omp_mlp.history import History
from omp_mlp.model import FORMAT, Model, kind_of

_READERS: Mapping[str, Callable[[Sequence[Model], History], Model | Ensemble]] = {
    FORMAT: lambda models, history: models[0]._with(history),
    ENSEMBLE_FORMAT: lambda models, history: Ensemble(models)._with(history),
}


def load(path: files.Place) -> Model | Ensemble:
    """Read what :meth:`omp_mlp.Model.save` or :meth:`omp_mlp.Ensemble.save` wrote.

    Parameters
    ----------
    path : str, bytes, path-like or binary file
        A file that is open is read from where it stands to its end.

    Returns
    -------
    Model or Ensemble

    Raises
    ------
    ValueError
        If the file is damaged, was not written by this package, or is of another version of the
        format.
    OSError
        If there is no such file, or it cannot be read.
    """
    stored = files.read(path, _READERS)
    try:
        if stored.columns is not None:
            stored.columns.check(stored.layer_sizes[0])
        models = [
            Model._of(
                stored.layer_sizes,
                packed,
                **kind_of(
                    stored.layer_sizes[-1],
                    stored.activation,
                    stored.output_activation,
                    stored.classes,
                    stored.multilabel,
                    stored.target_scaling,
                ),
                input_scaling=stored.input_scaling,
                target_scaling=stored.target_scaling,
                columns=stored.columns,
            )
            for packed in stored.packed
        ]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{files.name_of(path)}: damaged: {error}") from error
    return _READERS[stored.file_format](models, stored.history)
