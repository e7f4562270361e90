"""Estimators in the manner of scikit-learn that train and predict on the workers of a cluster."""

from __future__ import annotations

from typing import Any

import dask
import numpy as np
from sklearn.utils.validation import check_is_fitted

from omp_mlp.dask.job import checked_client, train_on_workers
from omp_mlp.dask.predictions import mapped
from omp_mlp.dask.scores import accuracy, r2
from omp_mlp.distributed.agreement import DEFAULTS_OF_RANKS
from omp_mlp.options import check_options
from omp_mlp.sklearn import OmpMLPClassifier, OmpMLPRegressor, _Estimator

_MANY_ROWS = 2**62  # more than a batch has


class _OnWorkers(_Estimator):
    """What both estimators do on a cluster."""

    _can_go_on = False
    _client: Any = None
    _local_class: type[_Estimator]

    @property
    def client(self) -> Any:  # noqa: ANN401
        """The client of the cluster. Default: the one that was made last."""
        return checked_client(self._client)

    @client.setter
    def client(self, client: Any) -> None:  # noqa: ANN401
        self._client = None if client is None else checked_client(client)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_client"}

    def to_local(self) -> Any:  # noqa: ANN401
        """Return the estimator of one process, with the same parameters and the same network."""
        local = self._local_class(**self.get_params(deep=False))
        for name, value in vars(self).items():
            if name != "_client":
                setattr(local, name, value)
        return local

    def _train(
        self,
        X: Any,  # noqa: ANN401
        y: Any,  # noqa: ANN401
        sample_weight: Any,  # noqa: ANN401
        X_val: Any,  # noqa: ANN401
        y_val: Any,  # noqa: ANN401
        task: str,
    ) -> None:
        self._check_goes_with_workers()
        self._check_validation(X_val, y_val)
        client = self.client
        if sample_weight is not None and dask.is_dask_collection(sample_weight):
            sample_weight = client.persist(sample_weight)
            sample_weight = sample_weight / sample_weight.mean()
        given = self._options_of_fit(
            _MANY_ROWS,
            epochs=self._most_epochs() or "auto",
            validation_data=None if X_val is None else (X_val, y_val),
            task=task,
        )
        if given["shuffle"] == "global":
            given["shuffle"] = "shards"
        given["categorical_features"] = DEFAULTS_OF_RANKS["categorical_features"]
        options = check_options(given)
        model, n_samples = train_on_workers(client, X, y, sample_weight, given)
        self._enter(model, n_samples, options, is_validated=X_val is not None)
        self.n_features_in_ = model.layer_sizes[0]
        names = None if model.columns is None else model.columns.names
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _check_goes_with_workers(self) -> None:
        given = [name for name in ("tol", "n_iter_no_change") if self._is_given(name)]
        if given:
            raise ValueError(
                f"{given[0]} must be 'auto' on a cluster, where max_iter, or early_stopping with "
                f"X_val and y_val, ends a training; got {getattr(self, given[0])!r}"
            )
        if self.verbose:
            raise ValueError("verbose must be False: a worker would print, and not the client")

    def _predicted(self, method: str, X: Any) -> Any:  # noqa: ANN401
        check_is_fitted(self, "model_")
        return mapped(self.to_local(), method, X)


class DaskOmpMLPClassifier(_OnWorkers, OmpMLPClassifier):
    """:class:`omp_mlp.OmpMLPClassifier` on the workers of a Dask cluster.

    It has the parameters and the attributes of that class, and trains as :func:`omp_mlp.dask.train`
    does. X and y are Dask arrays or dataframes. These parameters mean something else here:

    - ``shuffle=True``: the rows of a worker are shuffled on that worker.
    - ``max_iter``: the number of epochs. "auto" decides it from the number of rows.
    - ``n_jobs``: the operating-system threads of each worker's part. None: as many as the Dask
      worker has.
    - ``threads``: the replicas of each worker.
    - ``early_stopping`` needs ``X_val`` and ``y_val``.
    - ``tol`` and ``n_iter_no_change`` have to be "auto", and ``verbose`` False.
    - Columns of text are errors.

    Attributes
    ----------
    client : distributed.Client
        May be set. Default: the client that was made last.

    Examples
    --------
    >>> from distributed import Client                                 # doctest: +SKIP
    >>> from omp_mlp.dask import DaskOmpMLPClassifier                   # doctest: +SKIP
    >>> client = Client(n_workers=2, threads_per_worker=1)             # doctest: +SKIP
    >>> classifier = DaskOmpMLPClassifier(max_iter=20).fit(X, y)       # doctest: +SKIP
    >>> labels = classifier.predict(X)  # a Dask array                 # doctest: +SKIP
    >>> classifier.to_local().predict(rows)  # NumPy                   # doctest: +SKIP
    """

    _local_class = OmpMLPClassifier

    def fit(
        self,
        X: Any,  # noqa: ANN401
        y: Any,  # noqa: ANN401
        sample_weight: Any = None,  # noqa: ANN401
        *,
        X_val: Any = None,  # noqa: ANN401
        y_val: Any = None,  # noqa: ANN401
    ) -> DaskOmpMLPClassifier:
        """Train the network.

        Parameters
        ----------
        X : Dask array or dataframe of shape (n_samples, n_features)
        y : Dask array or Series of shape (n_samples,), or (n_samples, n_labels) of 0 and 1
        sample_weight : Dask array or Series of shape (n_samples,), optional
            They are divided by their mean.
        X_val, y_val : of the kind of X and y, or arrays, optional
            Data to validate on.

        Returns
        -------
        DaskOmpMLPClassifier
            The estimator itself.
        """
        self._train(X, y, sample_weight, X_val, y_val, "classes")
        labels = self.model_.classes
        self.classes_ = np.arange(self.n_outputs_) if labels is None else labels.copy()
        return self

    def predict(self, X: Any) -> Any:  # noqa: ANN401
        """Return the label of each row, as :func:`omp_mlp.dask.predict` does."""
        return self._predicted("predict", X)

    def predict_proba(self, X: Any) -> Any:  # noqa: ANN401
        """Return the probability of each class, as :func:`omp_mlp.dask.predict_proba` does."""
        return self._predicted("predict_proba", X)

    def predict_log_proba(self, X: Any) -> Any:  # noqa: ANN401
        """Return the logarithm of the probability of each class, to be computed."""
        return self._predicted("predict_log_proba", X)

    def decision_function(self, X: Any) -> Any:  # noqa: ANN401
        """Return the pre-activations of the last layer, to be computed."""
        return self._predicted("decision_function", X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: ANN401
        """Return the (weighted) share of rows whose label is right, computed on the workers."""
        check_is_fitted(self, "model_")
        if not dask.is_dask_collection(X):
            return float(self.to_local().score(X, y, sample_weight))
        return accuracy(self.client, self.to_local(), X, y, sample_weight)


class DaskOmpMLPRegressor(_OnWorkers, OmpMLPRegressor):
    """:class:`omp_mlp.OmpMLPRegressor` on the workers of a Dask cluster.

    It has the parameters and the attributes of that class, and trains as :func:`omp_mlp.dask.train`
    does. What differs is said at :class:`DaskOmpMLPClassifier`.

    Attributes
    ----------
    client : distributed.Client
        May be set. Default: the client that was made last.
    """

    _local_class = OmpMLPRegressor

    def fit(
        self,
        X: Any,  # noqa: ANN401
        y: Any,  # noqa: ANN401
        sample_weight: Any = None,  # noqa: ANN401
        *,
        X_val: Any = None,  # noqa: ANN401
        y_val: Any = None,  # noqa: ANN401
    ) -> DaskOmpMLPRegressor:
        """Train the network.

        Parameters
        ----------
        X : Dask array or dataframe of shape (n_samples, n_features)
        y : Dask array, Series or dataframe of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : Dask array or Series of shape (n_samples,), optional
            They are divided by their mean.
        X_val, y_val : of the kind of X and y, or arrays, optional
            Data to validate on.

        Returns
        -------
        DaskOmpMLPRegressor
            The estimator itself.
        """
        self._train(X, y, sample_weight, X_val, y_val, "values")
        return self

    def predict(self, X: Any) -> Any:  # noqa: ANN401
        """Return the values of the rows, as :func:`omp_mlp.dask.predict` does."""
        return self._predicted("predict", X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: ANN401
        """Return R^2, the mean over the outputs, computed on the workers."""
        check_is_fitted(self, "model_")
        if not dask.is_dask_collection(X):
            return float(self.to_local().score(X, y, sample_weight))
        return r2(self.client, self.to_local(), X, y, sample_weight)
