"""Handwritten digits to train on: MNIST, and two sets that need no download.

Every loader returns ``X_train, y_train, X_test, y_test``, with one image a row of X and the digits
0 to 9 in y.

=========================  ==================================================================
`load_mnist`               MNIST, 70,000 images of 28 x 28, from a folder or from the internet
`load_digits`              the 1,797 images of 8 x 8 that come with scikit-learn
`load_augmented_digits`    those 1,797 images enlarged to 28 x 28, shifted, rotated and scaled:
                           as many images as wanted, where MNIST cannot be had
`read_idx`                 reads any file in the IDX format of MNIST
=========================  ==================================================================

Only NumPy is needed to read files that are there. Downloading needs pooch; the other two sets need
scikit-learn and SciPy: ``pip install "omp_mlp[data]"``.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import numbers
import operator
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from omp_mlp import checks, disk, extras

__all__ = [
    "DatasetNotFoundError",
    "load_augmented_digits",
    "load_digits",
    "load_mnist",
    "read_idx",
]

_Pixel = TypeVar("_Pixel", np.float32, np.uint8)
_Split: TypeAlias = tuple[NDArray[_Pixel], NDArray[np.int64], NDArray[_Pixel], NDArray[np.int64]]


class DatasetNotFoundError(FileNotFoundError):
    """The data set is in none of the places searched, and was not downloaded.

    The message lists the files, the places, what went wrong with each download, and how to put the
    files where they are found.
    """


# ---------------------------------------------------------------------------------------------
# The IDX format


# Third byte of the magic number -> element type. The format is big-endian throughout.
_IDX_DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}

_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an array from a file in the IDX format, the format of the MNIST files.

    An IDX file is a magic number (two zero bytes, a byte for the element type, a byte for the
    number of dimensions), the length of each dimension as a 32-bit integer, and the elements in
    row-major order, all of it big-endian. A gzip-compressed file is recognised by its first bytes,
    whatever its name.

    Parameters
    ----------
    path : path-like
        The file to read.

    Returns
    -------
    ndarray
        A new, writable, C-contiguous array with the shape that the file states, in the byte order
        of this machine, of dtype uint8, int8, int16, int32, float32 or float64.

    Raises
    ------
    ValueError
        If the file is not an IDX file, states more or less data than it holds, or is a damaged
        gzip file. The message names the file, what was got and what was expected.
    OSError
        If the file cannot be opened, as from `open`.

    Examples
    --------
    >>> from omp_mlp.datasets import read_idx
    >>> labels = read_idx("train-labels-idx1-ubyte.gz")  # doctest: +SKIP
    >>> labels.shape, labels.dtype  # doctest: +SKIP
    ((60000,), dtype('uint8'))
    """
    return _parse_idx(_read_uncompressed(path), path)


def _read_uncompressed(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of an IDX file, decompressed if they are gzip's.

    No more than one byte beyond what the header states is decompressed and kept: a small gzip file
    may hold far more than its header states.
    """
    with disk.open_regular(path) as file:
        is_gzip = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        file.seek(0)
        try:
            if not is_gzip:
                return _read_stated(file, _name(path))
            with gzip.GzipFile(fileobj=file) as stream:
                return _read_stated(stream, _name(path))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{_name(path)}: damaged gzip file: {error}") from error


def _read_stated(stream: BinaryIO | gzip.GzipFile, name: str) -> bytes:
    content = _read_up_to(stream, 4)
    if content[:2] == b"\0\0" and len(content) == 4:
        content += _read_up_to(stream, 4 * content[3])
    expected = _idx_header(content, name).size
    return content + _read_up_to(stream, expected + 1 - len(content))


def _read_up_to(stream: BinaryIO | gzip.GzipFile, count: int) -> bytes:
    """Read so many bytes, or all there are; memory is taken for those that are there only."""
    blocks = []
    while count > 0 and (block := stream.read(min(count, 2**20))):
        blocks.append(block)
        count -= len(block)
    return b"".join(blocks)


class _IdxHeader(NamedTuple):
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int  # of the elements
    size: int  # of the file, in bytes


def _idx_header(content: bytes, name: str) -> _IdxHeader:
    """Return what the first bytes of an IDX file state."""
    if len(content) < 4:
        raise ValueError(f"{name}: truncated IDX header: got {len(content)} bytes, expected >= 4")
    magic = content[:4]
    if magic[:2] != b"\0\0" or magic[2] not in _IDX_DTYPES:
        types = ", ".join(f"{code:02x}" for code in _IDX_DTYPES)
        raise ValueError(
            f"{name}: wrong magic number, not an IDX file: got {magic.hex(' ')}, "
            f"expected 00 00, one of the element types {types}, and the number of dimensions"
        )
    dtype, n_dimensions = _IDX_DTYPES[magic[2]], magic[3]
    start = 4 + 4 * n_dimensions
    if len(content) < start:
        raise ValueError(
            f"{name}: truncated IDX header: got {len(content)} bytes, "
            f"expected {start} for {n_dimensions} dimensions"
        )
    shape = tuple(
        int.from_bytes(content[offset : offset + 4], "big") for offset in range(4, start, 4)
    )
    # Python integers: a product of stated lengths can be far beyond 64 bits.
    return _IdxHeader(dtype, shape, start, start + math.prod(shape) * dtype.itemsize)


def _parse_idx(content: bytes, path: str | os.PathLike[str]) -> NDArray[Any]:
    """Turn the uncompressed bytes of an IDX file into an array; `path` is for messages only."""
    name = _name(path)
    dtype, shape, start, expected = _idx_header(content, name)
    if len(content) != expected:
        is_short = len(content) < expected
        what = "truncated IDX file" if is_short else "trailing bytes in IDX file"
        raise ValueError(
            f"{name}: {what}: got {len(content)} bytes{'' if is_short else ' or more'}, "
            f"expected {expected} for shape {shape} of {dtype.name}"
        )
    try:
        array: NDArray[Any] = np.ndarray(shape, dtype, buffer=content, offset=start)
    except ValueError as error:  # more dimensions, or longer ones, than NumPy can hold
        raise ValueError(f"{name}: NumPy cannot hold this IDX file: {error}") from error
    return array.astype(dtype.newbyteorder("="))


# ---------------------------------------------------------------------------------------------
# MNIST


class _MnistFile(NamedTuple):
    """SHA-256 of one of the four files: as published, and uncompressed.

    Recompressed copies are common, so a file on this machine is judged by its content alone.
    """

    archive_sha256: str
    content_sha256: str


_MNIST_FILES = {
    "train-images-idx3-ubyte": _MnistFile(
        archive_sha256="440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        content_sha256="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train-labels-idx1-ubyte": _MnistFile(
        archive_sha256="3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        content_sha256="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "t10k-images-idx3-ubyte": _MnistFile(
        archive_sha256="8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        content_sha256="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "t10k-labels-idx1-ubyte": _MnistFile(
        archive_sha256="f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        content_sha256="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}
_TRAIN_PAIR = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
_TEST_PAIR = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

# Each holds the four archives as they were published. Tried in this order.
_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
)

# Seconds to wait for a connection and, once connected, for the next bytes.
_DOWNLOAD_TIMEOUT = (5, 30)

# The "paper" split trains on so many images of the training file and tests on the others.
_PAPER_N_TRAIN = 50_000


@overload
def load_mnist(
    path: str | os.PathLike[str] | None = ...,
    *,
    split: Literal["paper", "standard"] = ...,
    dtype: Literal["float32"] = ...,
    download: bool = ...,
) -> _Split[np.float32]: ...


@overload
def load_mnist(
    path: str | os.PathLike[str] | None = ...,
    *,
    split: Literal["paper", "standard"] = ...,
    dtype: Literal["uint8"],
    download: bool = ...,
) -> _Split[np.uint8]: ...


def load_mnist(
    path: str | os.PathLike[str] | None = None,
    *,
    split: Literal["paper", "standard"] = "paper",
    dtype: Literal["float32", "uint8"] = "float32",
    download: bool = True,
) -> _Split[Any]:
    """Load MNIST: 28 x 28 grey images of handwritten digits.

    The files are searched for in `path` and nowhere else if it is given. Otherwise in the folder
    that the environment variable ``OMP_MLP_DATA`` names, then in the cache folder: the one that
    ``OMP_MLP_CACHE`` names, or ``omp_mlp`` in the user's cache folder. The first folder that holds
    all files of the split is taken; each may be gzip-compressed (``train-images-idx3-ubyte.gz``) or
    plain (``train-images-idx3-ubyte``). Without such a folder, the missing files are downloaded
    from a public mirror into the cache folder.

    The uncompressed content of each file is checked against its known SHA-256.

    Parameters
    ----------
    path : path-like, optional
        Folder with the MNIST files. Nothing is downloaded if it is given.
    split : {"paper", "standard"}, default "paper"
        "paper": the first 50,000 images of the training file for training, its remaining 10,000
        for testing; the official test files are not needed. "standard": the 60,000 images of the
        training file for training, the 10,000 of the official test set for testing.
    dtype : {"float32", "uint8"}, default "float32"
        "float32": grey values divided by 255, in [0, 1]. "uint8": the bytes of the file, 0 to 255.
    download : bool, default True
        Whether to download the files if they are not on this machine.

    Returns
    -------
    X_train : ndarray of shape (n_train, 784), float32 or uint8, C-contiguous
    y_train : ndarray of shape (n_train,), int64
    X_test : ndarray of shape (n_test, 784), float32 or uint8, C-contiguous
    y_test : ndarray of shape (n_test,), int64

    Raises
    ------
    DatasetNotFoundError
        If the files were not found and not downloaded.
    ValueError
        If a file is damaged or not the original one, if images and labels disagree in number
        (the message names the files), or if `split` or `dtype` is none of the above.
    ImportError
        If the files must be downloaded and pooch is not installed.

    Examples
    --------
    >>> from omp_mlp.datasets import load_mnist
    >>> X_train, y_train, X_test, y_test = load_mnist(split="standard")  # doctest: +SKIP
    >>> X_train.shape, X_test.shape  # doctest: +SKIP
    ((60000, 784), (10000, 784))
    """
    _check_choice("split", split, ("paper", "standard"))
    _check_choice("dtype", dtype, ("float32", "uint8"))
    pairs = (_TRAIN_PAIR,) if split == "paper" else (_TRAIN_PAIR, _TEST_PAIR)
    files = _locate_mnist(path, [name for pair in pairs for name in pair], download)

    X, y = _read_mnist_pair(files, _TRAIN_PAIR)
    if split == "paper":
        X_train, X_test = X[:_PAPER_N_TRAIN], X[_PAPER_N_TRAIN:]
        y_train, y_test = y[:_PAPER_N_TRAIN], y[_PAPER_N_TRAIN:]
    else:
        X_train, y_train = X, y
        X_test, y_test = _read_mnist_pair(files, _TEST_PAIR)
    return _pixels(X_train, 255, dtype), y_train, _pixels(X_test, 255, dtype), y_test


def _read_mnist_pair(
    files: dict[str, Path], pair: tuple[str, str]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read and check images (n, 784) and labels (n,) of one of the two parts of MNIST."""
    contents = [_read_uncompressed(files[name]) for name in pair]
    images, labels = (
        _parse_idx(content, files[name]) for content, name in zip(contents, pair, strict=True)
    )
    # Before the digests, because this says more about two files that do not belong together.
    if images.shape[:1] != labels.shape[:1]:
        raise ValueError(
            f"images and labels disagree in number: {_name(files[pair[0]])} has shape "
            f"{images.shape}, {_name(files[pair[1]])} has shape {labels.shape}"
        )
    for content, name in zip(contents, pair, strict=True):
        got, expected = hashlib.sha256(content).hexdigest(), _MNIST_FILES[name].content_sha256
        if got != expected:
            raise ValueError(
                f"{_name(files[name])}: not the original MNIST file; SHA-256 of its uncompressed "
                f"content: got {got}, expected {expected}. Replace or delete the file."
            )
    return images.reshape(len(images), -1), labels.astype(np.int64)


def _locate_mnist(
    path: str | os.PathLike[str] | None, names: Sequence[str], download: bool
) -> dict[str, Path]:
    """Return where each of the files is on this machine, downloading them if need be."""
    cache = disk.cache_folder()
    # (what the place is, the folder), in the order of the search
    places: list[tuple[str, Path]] = []
    if path is not None:
        places.append(("the given path", Path(os.path.expanduser(disk.path_of(path)))))
    else:
        if os.environ.get("OMP_MLP_DATA"):
            places.append(("OMP_MLP_DATA", Path(os.path.expanduser(os.environ["OMP_MLP_DATA"]))))
        if cache is not None:
            places.append(("the cache folder", cache))
    for _, folder in places:
        found = _find_files(folder, names)
        if len(found) == len(names):
            return found

    searched = "\n".join(
        f"  {folder} ({what}): no {_either_name(set(names) - set(_find_files(folder, names)))}"
        for what, folder in places
    )
    if path is not None:
        outcome = "Nothing was downloaded, because a path was given."
    elif not download:
        outcome = "Nothing was downloaded, because of download=False."
    elif cache is None:
        outcome = (
            "Nothing was downloaded, because this user has no home, and none of the environment "
            "variables OMP_MLP_CACHE and XDG_CACHE_HOME names a folder."
        )
    else:
        failures = _download_mnist(cache, names, searched)
        found = _find_files(cache, names)
        if len(found) == len(names):
            return found
        outcome = "Downloading failed:\n" + "\n".join(f"  {failure}" for failure in failures)
    raise DatasetNotFoundError(
        f"MNIST was not found. Looked in:\n{searched}\n{outcome}\n"
        f"Put {_either_name(names)} into one folder, and pass that folder as `path` or set the "
        "environment variable OMP_MLP_DATA to it."
    )


def _find_files(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Return those of the files that `folder` holds, plain or compressed."""
    return {
        name: candidate
        for name in names
        # The last one of a comprehension wins: the plain file, which needs no decompression.
        for candidate in (folder / f"{name}.gz", folder / name)
        # Unlike Path.is_file, this is False, not an error, for a folder that may not be searched.
        if os.path.isfile(candidate)
    }


def _download_mnist(cache: Path, names: Sequence[str], searched: str) -> list[str]:
    """Download the missing files from the first mirror that gives them; return what failed.

    pooch writes to a temporary file in the same folder, checks its digest, and only then gives it
    its name, so a file under its final name is always complete.
    """
    pooch = _optional_import(
        "pooch", f"MNIST was not found. Looked in:\n{searched}\nDownloading it"
    )
    failures = []
    for mirror in _MIRRORS:
        try:
            for name in names:
                if not _find_files(cache, [name]):
                    pooch.retrieve(
                        url=f"{mirror}{name}.gz",
                        known_hash=f"sha256:{_MNIST_FILES[name].archive_sha256}",
                        fname=f"{name}.gz",
                        path=cache,
                        downloader=pooch.HTTPDownloader(timeout=_DOWNLOAD_TIMEOUT),
                    )
        # Failed requests and an unwritable folder are OSErrors, a wrong digest is a ValueError.
        except (OSError, ValueError) as error:
            failures.append(f"{mirror}: {type(error).__name__}: {error}")
        else:
            break
    return failures


# ---------------------------------------------------------------------------------------------
# The digits of scikit-learn


# Enlarging an 8 x 8 image, which digits fill, so that it fills the box of 20 x 20 that MNIST's do.
_ENLARGEMENT = 20 / 8
_AUGMENTED_SIDE = 28

# Uniform random changes to each copy: the limits on both sides.
_MAX_ROTATION = math.radians(12)
_MAX_SCALING = 0.12  # of height and of width, independently
_MAX_SHIFT = 2.0  # pixels of the enlarged image, each way

# Grey values of the enlarged image, in [0, 1], that become black and white. Interpolating 8 x 8
# pixels gives blurred strokes; stretching the contrast makes them as sharp as MNIST's, and the
# background exactly 0: about 22 % of the pixels are then nonzero (MNIST: 19 %).
_BLACK, _WHITE = 0.25, 0.8

# The share of the 1,797 images whose copies are for testing.
_AUGMENTED_TEST_FRACTION = 0.2


@overload
def load_digits(
    *, dtype: Literal["float32"] = ..., test_fraction: float = ..., seed: int = ...
) -> _Split[np.float32]: ...


@overload
def load_digits(
    *, dtype: Literal["uint8"], test_fraction: float = ..., seed: int = ...
) -> _Split[np.uint8]: ...


def load_digits(
    *,
    dtype: Literal["float32", "uint8"] = "float32",
    test_fraction: float = 0.2,
    seed: int = 0,
) -> _Split[Any]:
    """Load scikit-learn's 1,797 grey images of 8 x 8 of handwritten digits.

    They are divided at random into training and test images, in random order, so that each digit
    has the same share, up to one image, in both parts.

    Parameters
    ----------
    dtype : {"float32", "uint8"}, default "float32"
        "float32": grey values divided by 16, in [0, 1]. "uint8": the grey values, 0 to 16.
    test_fraction : float, default 0.2
        The share of the images that is for testing: between 0 and 1, and large and small enough
        to leave an image in both parts. ``round(1797 * test_fraction)`` images are for testing.
    seed : int, default 0
        Seed of the division, >= 0. The same seed gives the same arrays.

    Returns
    -------
    X_train : ndarray of shape (n_train, 64), float32 or uint8, C-contiguous
    y_train : ndarray of shape (n_train,), int64
    X_test : ndarray of shape (n_test, 64), float32 or uint8, C-contiguous
    y_test : ndarray of shape (n_test,), int64

    Raises
    ------
    ValueError, TypeError
        If an argument is not one of the above.
    ImportError
        If scikit-learn is not installed.

    Examples
    --------
    >>> from omp_mlp.datasets import load_digits
    >>> X_train, y_train, X_test, y_test = load_digits()  # doctest: +SKIP
    >>> X_train.shape, X_test.shape  # doctest: +SKIP
    ((1438, 64), (359, 64))
    """
    _check_choice("dtype", dtype, ("float32", "uint8"))
    _check_integer("seed", seed, minimum=0)
    split_rng, _, _ = _random_generators(seed)
    images, y, train, test = _split_digits(test_fraction, split_rng)
    X = images.reshape(len(images), -1)
    return _pixels(X[train], 16, dtype), y[train], _pixels(X[test], 16, dtype), y[test]


@overload
def load_augmented_digits(
    n_train: int = ..., n_test: int = ..., *, dtype: Literal["float32"] = ..., seed: int = ...
) -> _Split[np.float32]: ...


@overload
def load_augmented_digits(
    n_train: int = ..., n_test: int = ..., *, dtype: Literal["uint8"], seed: int = ...
) -> _Split[np.uint8]: ...


def load_augmented_digits(
    n_train: int = 50_000,
    n_test: int = 10_000,
    *,
    dtype: Literal["float32", "uint8"] = "float32",
    seed: int = 0,
) -> _Split[Any]:
    """Make as many 28 x 28 images as wanted out of scikit-learn's 1,797 digits.

    This is for machines without MNIST: a set with the same shape, the same kind of values and
    nearly the same share of nonzero pixels (22 %, MNIST 19 %) that needs no download. It is not
    MNIST: name it where results are shown.

    The original images are divided first, as in `load_digits` with the same seed: 1,438 for
    training and 359 for testing, so no original has copies in both parts. Each is enlarged to
    28 x 28 and copied as often as needed, every copy with its own small random rotation (up to
    12 degrees), scaling (up to 12 %, of height and width) and shift (up to 2 pixels). All originals
    of a part are copied equally often, up to one copy, in random order. The contrast is stretched,
    so that the strokes are sharp and the background is exactly 0.

    Parameters
    ----------
    n_train, n_test : int
        Numbers of images to make, >= 1. The defaults are the numbers of `load_mnist`.
    dtype : {"float32", "uint8"}, default "float32"
        "uint8": grey values of 0 to 255. "float32": the same divided by 255, in [0, 1].
    seed : int, default 0
        Seed of the division and of all random changes, >= 0. The same seed gives the same arrays.

    Returns
    -------
    X_train : ndarray of shape (n_train, 784), float32 or uint8, C-contiguous
    y_train : ndarray of shape (n_train,), int64
    X_test : ndarray of shape (n_test, 784), float32 or uint8, C-contiguous
    y_test : ndarray of shape (n_test,), int64

    Raises
    ------
    ValueError, TypeError
        If an argument is not one of the above.
    ImportError
        If scikit-learn or SciPy is not installed.

    Examples
    --------
    >>> from omp_mlp.datasets import load_augmented_digits
    >>> X_train, y_train, X_test, y_test = load_augmented_digits(5_000, 1_000)  # doctest: +SKIP
    >>> X_train.shape, X_test.shape  # doctest: +SKIP
    ((5000, 784), (1000, 784))
    """
    _check_integer("n_train", n_train, minimum=1)
    _check_integer("n_test", n_test, minimum=1)
    _check_choice("dtype", dtype, ("float32", "uint8"))
    _check_integer("seed", seed, minimum=0)
    split_rng, train_rng, test_rng = _random_generators(seed)
    images, y, train, test = _split_digits(_AUGMENTED_TEST_FRACTION, split_rng)
    X_train, train_source = _augment(images[train], n_train, train_rng)
    X_test, test_source = _augment(images[test], n_test, test_rng)
    return (
        _pixels(X_train, 255, dtype),
        y[train[train_source]],
        _pixels(X_test, 255, dtype),
        y[test[test_source]],
    )


def _random_generators(seed: int) -> Iterator[np.random.Generator]:
    """Return independent generators: for the division, the training and the test copies."""
    return map(np.random.default_rng, np.random.SeedSequence(seed).spawn(3))


def _split_digits(
    test_fraction: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return all images (n, 8, 8) and labels (n,), and the indices for training and for testing."""
    if not isinstance(test_fraction, numbers.Real) or isinstance(test_fraction, bool):
        raise TypeError(
            f"test_fraction: got {checks.shown(test_fraction)}, expected a number between 0 and 1"
        )
    datasets = _optional_import("sklearn.datasets", "Loading the digits of scikit-learn")
    bunch = datasets.load_digits()
    images, y = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
    n = len(images)
    n_test = round(n * test_fraction) if 0 < test_fraction < 1 else 0
    if not 1 <= n_test <= n - 1:
        raise ValueError(
            f"test_fraction: got {checks.shown(test_fraction)}, expected a number between 0 and 1 "
            f"that leaves at least one of the {n} images for training and one for testing"
        )
    order = rng.permutation(n)
    # Stratification: in the random order sorted by class, take every (n / n_test)-th image. A run
    # of m images of one class then gives m * n_test / n of them, rounded up or down.
    taken = np.diff(np.arange(n + 1) * n_test // n).astype(bool)
    is_test = np.empty(n, dtype=bool)
    is_test[np.argsort(y[order], kind="stable")] = taken
    return images, y, order[~is_test], order[is_test]


def _augment(
    images: NDArray[np.uint8], n: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Make n changed copies (n, 784) of images (m, 8, 8); also return the original of each (n,)."""
    ndimage = _optional_import("scipy.ndimage", "Augmenting images")
    # Cubic splines through the pixels of each original, computed once. The frame of zeros lets
    # digits that touch the edge of the image end softly.
    frame = 3
    framed = np.pad(images / 16, ((0, 0), (frame, frame), (frame, frame)))
    splines = [ndimage.spline_filter(image, order=3) for image in framed]

    source = rng.permutation(np.arange(n) % len(images))
    angle = rng.uniform(-_MAX_ROTATION, _MAX_ROTATION, n)
    scale = _ENLARGEMENT * rng.uniform(1 - _MAX_SCALING, 1 + _MAX_SCALING, (n, 2))
    shift = rng.uniform(-_MAX_SHIFT, _MAX_SHIFT, (n, 2))
    # affine_transform asks where in the original each pixel of the copy comes from:
    # original = center_original + (rotation @ (copy - center_copy - shift)) / scale
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = rotation.transpose(2, 0, 1) / scale[:, :, np.newaxis]  # (n, 2, 2)
    center_original = (framed.shape[1] - 1) / 2
    center_copy = (_AUGMENTED_SIDE - 1) / 2
    offset = center_original - np.einsum("nij,nj->ni", matrix, center_copy + shift)

    copies = np.empty((n, _AUGMENTED_SIDE, _AUGMENTED_SIDE), dtype=np.uint8)
    grey = np.empty(copies.shape[1:])
    for i in range(n):
        ndimage.affine_transform(
            splines[source[i]], matrix[i], offset[i], output=grey, order=3, prefilter=False
        )
        np.subtract(grey, _BLACK, out=grey)
        np.multiply(grey, 255 / (_WHITE - _BLACK), out=grey)
        np.clip(grey, 0, 255, out=grey)
        np.rint(grey, out=copies[i], casting="unsafe")
    return copies.reshape(n, -1), source


# ---------------------------------------------------------------------------------------------
# Helpers


def _pixels(X: NDArray[np.uint8], maximum: int, dtype: str) -> NDArray[Any]:
    """Return grey values as bytes, or as float32 in [0, 1]."""
    return X if dtype == "uint8" else np.divide(X, np.float32(maximum), dtype=np.float32)


def _optional_import(module: str, purpose: str) -> Any:  # noqa: ANN401
    """Import a module of an optional dependency."""
    package = {"sklearn.datasets": "scikit-learn", "scipy.ndimage": "SciPy"}.get(module, module)
    return extras.imported(module, purpose, package, "data")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{name}: got {checks.shown(value)}, expected one of {listed}")


def _check_integer(name: str, value: object, *, minimum: int) -> None:
    """Raise TypeError unless the value is an integer, ValueError if it is too small."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # that is what is checked
    except TypeError:
        number = None
    if number is None or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: got {checks.shown(value)}, expected an integer >= {minimum}")
    if number < minimum:
        raise ValueError(f"{name}: got {number}, expected an integer >= {minimum}")


def _name(path: str | os.PathLike[str]) -> str:
    """Return a path as text for messages."""
    return disk.path_of(path)


def _either_name(names: Sequence[str] | set[str]) -> str:
    """Return the names of files that may be plain or compressed, for messages."""
    return ", ".join(f"{name}[.gz]" for name in sorted(names))
