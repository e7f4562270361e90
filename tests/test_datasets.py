"""Tests of omp_mlp.datasets: the IDX reader, MNIST from disk and from mirrors, the digits.

No test reaches the internet: mirrors are a server on the loopback interface. The tests on real
MNIST run if the environment variable OMP_MLP_DATA names a folder with its files.
"""

import ast
import gzip
import hashlib
import math
import os
import re
import struct
import sys
import threading
import tracemalloc
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pooch
import pytest
import sklearn.datasets
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from omp_mlp import datasets
from omp_mlp.datasets import (
    DatasetNotFoundError,
    load_augmented_digits,
    load_digits,
    load_mnist,
    read_idx,
)

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
NAMES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)

# struct's letter and numpy's name of each IDX element type
ELEMENT_TYPES = {
    0x08: ("B", "uint8"),
    0x09: ("b", "int8"),
    0x0B: ("h", "int16"),
    0x0C: ("i", "int32"),
    0x0D: ("f", "float32"),
    0x0E: ("d", "float64"),
}


def to_idx(array):
    """Write an array in the IDX format, element by element."""
    (code, letter), *others = (
        (code, letter) for code, (letter, name) in ELEMENT_TYPES.items() if name == array.dtype.name
    )
    assert not others
    header = struct.pack(f">4B{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + struct.pack(f">{array.size}{letter}", *array.ravel().tolist())


# ---------------------------------------------------------------------------------------------
# read_idx


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("00 00 08 01  00 00 00 03  00 7f ff", np.array([0, 127, 255], np.uint8)),
        ("00 00 09 01  00 00 00 03  00 7f ff", np.array([0, 127, -1], np.int8)),
        ("00 00 0b 01  00 00 00 02  01 02 ff fe", np.array([258, -2], np.int16)),
        ("00 00 0c 01  00 00 00 02  00 00 01 00 ff ff ff ff", np.array([256, -1], np.int32)),
        ("00 00 0d 01  00 00 00 02  3f 80 00 00 c0 20 00 00", np.array([1, -2.5], np.float32)),
        ("00 00 0e 01  00 00 00 01  3f f8 00 00 00 00 00 00", np.array([1.5], np.float64)),
        (
            "00 00 08 02  00 00 00 02  00 00 00 03  01 02 03 04 05 06",
            np.array([[1, 2, 3], [4, 5, 6]], np.uint8),
        ),
        ("00 00 08 00  2a", np.array(42, np.uint8)),
        ("00 00 0c 02  00 00 00 03  00 00 00 00", np.empty((3, 0), np.int32)),
    ],
    ids=["uint8", "int8", "int16", "int32", "float32", "float64", "rows", "scalar", "empty"],
)
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_read_idx_of_bytes_written_by_hand(tmp_path, content, expected, compress):
    content = bytes.fromhex(content)
    path = tmp_path / "file"  # the name does not say whether it is compressed
    path.write_bytes(gzip.compress(content) if compress else content)
    for argument in (path, str(path)):
        got = read_idx(argument)
        np.testing.assert_array_equal(got, expected, strict=True)
        assert got.dtype.isnative
        assert got.flags.c_contiguous
        assert got.flags.writeable
        assert got.flags.owndata


@given(
    array=st.sampled_from([name for _, name in ELEMENT_TYPES.values()]).flatmap(
        lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0))
    ),
    compress=st.booleans(),
)
def test_read_idx_gives_back_what_was_written(tmp_path_factory, array, compress):
    path = tmp_path_factory.getbasetemp() / "round_trip"
    path.write_bytes(gzip.compress(to_idx(array), 1) if compress else to_idx(array))
    np.testing.assert_array_equal(read_idx(path), array, strict=True)


SMALL = to_idx(np.arange(6, dtype=np.int16).reshape(2, 3))  # 4 + 8 + 12 bytes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated IDX header: got 0 bytes, expected >= 4"),
        (b"\0\0\x08", "truncated IDX header: got 3 bytes, expected >= 4"),
        (SMALL[:11], "truncated IDX header: got 11 bytes, expected 12 for 2 dimensions"),
        (
            b"\x89PNG\r\n\x1a\n",
            "wrong magic number, not an IDX file: got 89 50 4e 47, expected 00 00, one of the "
            "element types 08, 09, 0b, 0c, 0d, 0e, and the number of dimensions",
        ),
        (b"\0\1" + SMALL[2:], "wrong magic number, not an IDX file: got 00 01 0b 02, expected"),
        (b"\0\0\x0a" + SMALL[3:], "wrong magic number, not an IDX file: got 00 00 0a 02, expected"),
        (SMALL[:-1], "truncated IDX file: got 23 bytes, expected 24 for shape (2, 3) of int16"),
        (SMALL[:12], "truncated IDX file: got 12 bytes, expected 24 for shape (2, 3) of int16"),
        (
            SMALL + b"\0",
            "trailing bytes in IDX file: got 25 bytes or more, expected 24 for shape (2, 3) of "
            "int16",
        ),
        (
            SMALL[:4] + b"\xff" * 8,  # a count that no machine can hold, and 64 bits cannot either
            f"truncated IDX file: got 12 bytes, expected {12 + 2 * (2**32 - 1) ** 2} "
            "for shape (4294967295, 4294967295) of int16",
        ),
        (
            b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\7",
            "NumPy cannot hold this IDX file: maximum supported dimension",
        ),
    ],
)
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_read_idx_says_what_is_wrong(tmp_path, content, message, compress):
    path = tmp_path / "bad.idx"
    path.write_bytes(gzip.compress(content) if compress else content)
    with pytest.raises(ValueError, match=re.escape(f"{path}: {message}")):
        read_idx(path)


def test_read_idx_notices_every_truncation(tmp_path):
    path = tmp_path / "cut"
    for whole in (SMALL, gzip.compress(SMALL)):
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            with pytest.raises(ValueError, match=re.escape(str(path))):
                read_idx(path)


def test_read_idx_reads_no_more_than_the_header_states(tmp_path):
    # 1 GB of zeros behind a header that states 24 bytes.
    path = tmp_path / "bomb.gz"
    zeros = gzip.compress(bytes(2**24), mtime=0)
    path.write_bytes(gzip.compress(SMALL, mtime=0) + zeros * 64)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="trailing bytes in IDX file: got 25 bytes or more"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this platform")
def test_read_idx_waits_for_no_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe: not a regular file"):
        read_idx(tmp_path / "pipe")


@pytest.mark.parametrize("path", [1, True, None, ["a"]])
def test_read_idx_takes_no_numbers_for_files(path):
    with pytest.raises(TypeError, match="path must be a str, bytes or path-like; got"):
        read_idx(path)
    os.fstat(1)  # is still open


def test_mutations_of_a_file_are_read_as_arrays_or_not_at_all(tmp_path):
    path, rng = tmp_path / "mutated", np.random.default_rng(6)
    for k in range(300):
        content = bytearray(SMALL if k % 2 else gzip.compress(SMALL, mtime=0))
        for _ in range(rng.integers(1, 4)):
            begin = int(rng.integers(len(content) + 1))
            part = [b"", rng.bytes(int(rng.integers(1, 20))), content[:begin][-9:]]
            content[begin : begin + int(rng.integers(1, 30))] = part[rng.integers(3)]
        path.write_bytes(content)
        try:
            array = read_idx(path)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017 - most of them, and not all
        else:
            assert array.nbytes < 2**20


def test_read_idx_notices_damage_to_a_gzip_file(tmp_path):
    path = tmp_path / "damaged.gz"
    whole = gzip.compress(SMALL, mtime=0)
    path.write_bytes(whole + b"junk")
    with pytest.raises(ValueError, match=re.escape(f"{path}: damaged gzip file: ")):
        read_idx(path)
    # Flip every bit after gzip's header of 10 bytes, of which some bits do not matter, up to the
    # last byte of the compressed data, which ends with padding; then those of checksum and length.
    for position in [*range(10, len(whole) - 9), *range(len(whole) - 8, len(whole))]:
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=re.escape(str(path))):
                read_idx(path)


def test_read_idx_of_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_idx(tmp_path / "nowhere")


# ---------------------------------------------------------------------------------------------
# load_mnist on small files that take the place of MNIST's


class SmallMnist:
    """12 + 5 random images with labels, written like MNIST; the digests in the module fit them."""

    def __init__(self):
        rng = np.random.default_rng(20)
        self.arrays = {
            TRAIN_IMAGES: rng.integers(0, 256, (12, 28, 28), np.uint8),
            TRAIN_LABELS: rng.integers(0, 10, 12, np.uint8),
            TEST_IMAGES: rng.integers(0, 256, (5, 28, 28), np.uint8),
            TEST_LABELS: rng.integers(0, 10, 5, np.uint8),
        }
        self.contents = {name: to_idx(array) for name, array in self.arrays.items()}
        self.archives = {
            name: gzip.compress(content, mtime=0) for name, content in self.contents.items()
        }

    def digests(self):
        return {
            name: datasets._MnistFile(
                archive_sha256=hashlib.sha256(self.archives[name]).hexdigest(),
                content_sha256=hashlib.sha256(self.contents[name]).hexdigest(),
            )
            for name in NAMES
        }

    def rows(self, name):
        return self.arrays[name].reshape(-1, 784)

    def write(self, folder, names=NAMES, *, plain=()):
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            if name in plain:
                (folder / name).write_bytes(self.contents[name])
            else:
                # Recompressed: other bytes than those of the mirrors, the same content.
                (folder / f"{name}.gz").write_bytes(gzip.compress(self.contents[name], 1, mtime=1))
        return folder

    def check(self, loaded, split="standard"):
        """Compare what load_mnist(dtype="uint8") returned with the arrays."""
        X, y = self.rows(TRAIN_IMAGES), self.arrays[TRAIN_LABELS].astype(np.int64)
        if split == "paper":
            expected = (X[:9], y[:9], X[9:], y[9:])
        else:
            expected = (X, y, self.rows(TEST_IMAGES), self.arrays[TEST_LABELS].astype(np.int64))
        for got, array in zip(loaded, expected, strict=True):
            np.testing.assert_array_equal(got, array, strict=True)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def small(monkeypatch, cache):
    """Small files for MNIST's, an empty cache, no OMP_MLP_DATA, and no way to the internet."""
    small = SmallMnist()
    monkeypatch.setattr(datasets, "_MNIST_FILES", small.digests())
    monkeypatch.setattr(datasets, "_PAPER_N_TRAIN", 9)
    monkeypatch.setattr(datasets, "_MIRRORS", ())
    monkeypatch.delenv("OMP_MLP_DATA", raising=False)
    monkeypatch.setenv("OMP_MLP_CACHE", str(cache))
    # Requests to the loopback server must not go through a proxy.
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    return small


@pytest.mark.parametrize("split", ["paper", "standard"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_load_mnist_values(small, tmp_path, split, dtype):
    folder = small.write(tmp_path / "mnist")
    X_train, y_train, X_test, y_test = load_mnist(folder, split=split, dtype=dtype)
    for X in (X_train, X_test):
        assert X.dtype == dtype
        assert X.flags.c_contiguous
        assert X.flags.writeable
    if dtype == "float32":
        # Divided by 255 and rounded once: the float32 nearest to the quotient.
        for X in (X_train, X_test):
            assert set(X.ravel()) <= {np.float32(grey / 255) for grey in range(256)}
        X_train, X_test = (np.rint(X * 255).astype(np.uint8) for X in (X_train, X_test))
    small.check((X_train, y_train, X_test, y_test), split)


def test_load_mnist_defaults_to_the_papers_split_in_float32(small, tmp_path):
    folder = small.write(tmp_path / "mnist")
    X_train, _, X_test, _ = load_mnist(folder)
    np.testing.assert_array_equal(
        X_train, small.rows(TRAIN_IMAGES)[:9].astype(np.float32) / np.float32(255), strict=True
    )
    assert X_test.shape == (3, 784)


@pytest.mark.parametrize("plain", [(), NAMES, (TRAIN_IMAGES, TEST_LABELS)])
def test_load_mnist_takes_compressed_and_plain_files(small, tmp_path, plain):
    folder = small.write(tmp_path / "mnist", plain=plain)
    small.check(load_mnist(folder, split="standard", dtype="uint8"))
    small.check(load_mnist(str(folder), split="standard", dtype="uint8"))


def test_load_mnist_recognises_compression_by_content(small, tmp_path):
    folder = small.write(tmp_path / "mnist")
    for name in NAMES:
        (folder / f"{name}.gz").rename(folder / name)
    small.check(load_mnist(folder, split="standard", dtype="uint8"))


def test_paper_split_does_not_need_the_test_files(small, tmp_path):
    folder = small.write(tmp_path / "mnist", (TRAIN_IMAGES, TRAIN_LABELS))
    small.check(load_mnist(folder, split="paper", dtype="uint8"), "paper")
    with pytest.raises(DatasetNotFoundError) as caught:
        load_mnist(folder, split="standard")
    assert f"{folder} (the given path): no {TEST_IMAGES}[.gz], {TEST_LABELS}[.gz]\n" in str(
        caught.value
    )


def test_load_mnist_searches_the_named_folder_then_the_cache(small, tmp_path, cache, monkeypatch):
    small.write(cache)
    small.check(load_mnist(split="standard", dtype="uint8"))

    # A folder that lacks a file is passed over.
    data = small.write(tmp_path / "data", NAMES[1:])
    monkeypatch.setenv("OMP_MLP_DATA", str(data))
    small.check(load_mnist(split="standard", dtype="uint8"))

    # OMP_MLP_DATA comes before the cache: its damaged file is used, and is an error.
    (data / TRAIN_IMAGES).write_bytes(b"")
    with pytest.raises(ValueError, match=re.escape(f"{data / TRAIN_IMAGES}: truncated")):
        load_mnist()
    small.write(data)
    (data / TRAIN_IMAGES).unlink()
    (cache / f"{TRAIN_IMAGES}.gz").write_bytes(b"not used")
    small.check(load_mnist(split="standard", dtype="uint8"))


def test_load_mnist_looks_nowhere_else_if_given_a_path(small, tmp_path, cache, monkeypatch):
    small.write(cache)
    monkeypatch.setenv("OMP_MLP_DATA", str(small.write(tmp_path / "data")))
    monkeypatch.setattr(datasets, "_download_mnist", None)  # fails if called
    with pytest.raises(DatasetNotFoundError) as caught:
        load_mnist(tmp_path / "empty", split="standard")
    message = str(caught.value)
    assert f"{tmp_path / 'empty'} (the given path): no {TEST_IMAGES}[.gz], " in message
    for name in NAMES:
        assert f"{name}[.gz]" in message
    assert "Nothing was downloaded, because a path was given." in message
    assert "cache" not in message


@pytest.mark.usefixtures("small")
def test_load_mnist_without_download(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("OMP_MLP_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setattr(datasets, "_download_mnist", None)  # fails if called
    with pytest.raises(DatasetNotFoundError) as caught:
        load_mnist(download=False)
    message = str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)
    assert f"{tmp_path / 'nowhere'} (OMP_MLP_DATA): no {TRAIN_IMAGES}[.gz], " in message
    assert f"{cache} (the cache folder): no {TRAIN_IMAGES}[.gz], " in message
    assert "because of download=False" in message
    assert "set the environment variable OMP_MLP_DATA" in message


def test_home_folder_is_expanded(small, tmp_path, monkeypatch):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    small.write(tmp_path / "mine")
    small.check(load_mnist("~/mine", split="standard", dtype="uint8"))
    monkeypatch.setenv("OMP_MLP_DATA", "~/mine")
    small.check(load_mnist(split="standard", dtype="uint8"))
    monkeypatch.delenv("OMP_MLP_DATA")
    monkeypatch.setenv("OMP_MLP_CACHE", "~/mine")
    small.check(load_mnist(split="standard", dtype="uint8"))


def test_a_user_without_a_home(monkeypatch):
    for name in ("OMP_MLP_CACHE", "XDG_CACHE_HOME", "OMP_MLP_DATA", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as Python does then
    with pytest.raises(DatasetNotFoundError, match="this user has no home"):
        load_mnist()


@pytest.mark.parametrize("pair", [(TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS)])
def test_images_and_labels_that_disagree(small, tmp_path, pair):
    folder = small.write(tmp_path / "mnist")
    images, labels = (folder / f"{name}.gz" for name in pair)
    labels.write_bytes(gzip.compress(to_idx(small.arrays[pair[1]][:-1])))
    n = len(small.arrays[pair[0]])
    message = (
        f"images and labels disagree in number: {images} has shape ({n}, 28, 28), "
        f"{labels} has shape ({n - 1},)"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        load_mnist(folder, split="standard")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_every_file_is_checked_against_its_digest(small, tmp_path, name, suffix):
    folder = small.write(tmp_path / "mnist", plain=NAMES if not suffix else ())
    array = small.arrays[name].copy()
    array.flat[-1] ^= 1  # a valid file, off by one bit
    content = to_idx(array)
    (folder / (name + suffix)).write_bytes(gzip.compress(content) if suffix else content)
    message = (
        f"{folder / (name + suffix)}: not the original MNIST file; SHA-256 of its uncompressed "
        f"content: got {hashlib.sha256(content).hexdigest()}, "
        f"expected {hashlib.sha256(small.contents[name]).hexdigest()}"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        load_mnist(folder, split="standard")


def test_damaged_files_are_named(small, tmp_path):
    folder = small.write(tmp_path / "mnist")
    path = folder / f"{TRAIN_IMAGES}.gz"
    path.write_bytes(small.archives[TRAIN_IMAGES][:-20])
    with pytest.raises(ValueError, match=re.escape(f"{path}: damaged gzip file: ")):
        load_mnist(folder)
    path.write_bytes(small.contents[TRAIN_IMAGES][:-3])
    got, expected = 16 + 12 * 784 - 3, 16 + 12 * 784
    with pytest.raises(ValueError, match=f"truncated IDX file: got {got} bytes, .* {expected} "):
        load_mnist(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "test"}, "split: got 'test', expected one of 'paper', 'standard'"),
        ({"split": None}, "split: got None, expected one of"),
        ({"dtype": "float64"}, "dtype: got 'float64', expected one of 'float32', 'uint8'"),
        ({"dtype": np.float32}, "dtype: got <class 'numpy.float32'>, expected one of"),
    ],
)
@pytest.mark.usefixtures("small")
def test_load_mnist_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_mnist(**arguments)


# ---------------------------------------------------------------------------------------------
# load_mnist: downloading, from a server on the loopback interface


class Mirrors:
    """A web server: each path answers with bytes, with an error status, or with half the bytes."""

    def __init__(self):
        self.answers = {}  # path -> bytes | int | ("half", bytes)
        self.requests = []
        mirrors = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                mirrors.requests.append(self.path)
                answer = mirrors.answers.get(self.path, 404)
                if isinstance(answer, int):
                    self.send_error(answer)
                    return
                whole = answer[1] if isinstance(answer, tuple) else answer
                sent = whole[: len(whole) // 2] if isinstance(answer, tuple) else whole
                self.send_response(200)
                self.send_header("Content-Type", "application/x-gzip")
                self.send_header("Content-Length", str(len(whole)))
                self.end_headers()
                self.wfile.write(sent)  # HTTP/1.0: the connection is closed after it

            def log_message(self, *args):
                """Keep the output of the tests free of requests."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def url(self, name):
        return f"http://127.0.0.1:{self.server.server_address[1]}/{name}/"

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def mirrors(small, monkeypatch):
    mirrors = Mirrors()
    monkeypatch.setattr(datasets, "_MIRRORS", (mirrors.url("first"), mirrors.url("second")))
    for name in NAMES:
        mirrors.answers[f"/second/{name}.gz"] = small.archives[name]
    yield mirrors
    mirrors.close()


def files_in(folder):
    return {path.name for path in folder.rglob("*")} if folder.exists() else set()


def test_download_into_the_cache_and_only_once(small, mirrors, cache):
    for name in NAMES:
        mirrors.answers[f"/first/{name}.gz"] = small.archives[name]
    small.check(load_mnist(split="paper", dtype="uint8"), "paper")
    assert mirrors.requests == [f"/first/{name}.gz" for name in NAMES[:2]]
    small.check(load_mnist(split="standard", dtype="uint8"))
    assert mirrors.requests == [f"/first/{name}.gz" for name in NAMES]
    small.check(load_mnist(split="standard", dtype="uint8", download=False))
    assert files_in(cache) == {f"{name}.gz" for name in NAMES}
    assert (cache / f"{TRAIN_LABELS}.gz").read_bytes() == small.archives[TRAIN_LABELS]


def test_download_leaves_files_of_the_cache_alone(small, mirrors, cache):
    # A recompressed and a plain copy are as good as the mirrors' archives.
    small.write(cache, NAMES[:3], plain=[TRAIN_LABELS])
    before = {name: (cache / name).read_bytes() for name in files_in(cache)}
    small.check(load_mnist(split="standard", dtype="uint8"))
    assert set(mirrors.requests) == {f"/first/{TEST_LABELS}.gz", f"/second/{TEST_LABELS}.gz"}
    assert {name: (cache / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("fault", ["missing", "server error", "half", "corrupt", "unreachable"])
def test_second_mirror_is_used_if_the_first_is_broken(small, mirrors, cache, monkeypatch, fault):
    archive = small.archives[TRAIN_IMAGES]
    answer = {
        "missing": 404,
        "server error": 503,
        "half": ("half", archive),
        "corrupt": archive[:-1] + bytes([archive[-1] ^ 1]),
        "unreachable": None,
    }[fault]
    if fault == "unreachable":
        # Nothing listens on the port of a server that was closed.
        gone = Mirrors()
        url = gone.url("first")
        gone.close()
        monkeypatch.setattr(datasets, "_MIRRORS", (url, mirrors.url("second")))
    else:
        mirrors.answers[f"/first/{TRAIN_IMAGES}.gz"] = answer
    small.check(load_mnist(split="paper", dtype="uint8"), "paper")
    second = [path for path in mirrors.requests if path.startswith("/second/")]
    assert second == [f"/second/{name}.gz" for name in NAMES[:2]]
    assert files_in(cache) == {f"{name}.gz" for name in NAMES[:2]}
    assert (cache / f"{TRAIN_IMAGES}.gz").read_bytes() == archive


def test_mirror_that_fails_midway(small, mirrors):
    mirrors.answers[f"/first/{TRAIN_IMAGES}.gz"] = small.archives[TRAIN_IMAGES]
    small.check(load_mnist(split="paper", dtype="uint8"), "paper")
    # What the first mirror gave is kept, and only the rest is asked of the second.
    assert mirrors.requests == [
        f"/first/{TRAIN_IMAGES}.gz",
        f"/first/{TRAIN_LABELS}.gz",
        f"/second/{TRAIN_LABELS}.gz",
    ]


def test_corrupt_and_half_finished_downloads_are_refused(small, mirrors, cache):
    archive = small.archives[TRAIN_IMAGES]
    mirrors.answers[f"/first/{TRAIN_IMAGES}.gz"] = ("half", archive)
    # The right content, but not the published file.
    mirrors.answers[f"/second/{TRAIN_IMAGES}.gz"] = gzip.compress(b"other content")
    with pytest.raises(DatasetNotFoundError) as caught:
        load_mnist()
    message = str(caught.value)
    assert f"{cache} (the cache folder): no {TRAIN_IMAGES}[.gz], {TRAIN_LABELS}[.gz]\n" in message
    assert f"Downloading failed:\n  {mirrors.url('first')}: ChunkedEncodingError: " in message
    assert f"\n  {mirrors.url('second')}: ValueError: SHA256 hash of downloaded file" in message
    assert "pass that folder as `path` or set the environment variable OMP_MLP_DATA" in message
    assert files_in(cache) == set()


@pytest.mark.usefixtures("mirrors")
def test_interrupted_download_leaves_nothing(small, cache, monkeypatch):
    class Interrupted:
        def __init__(self, **options):
            pass

        def __call__(self, _url, output_file, _pooch):
            Path(output_file).write_bytes(small.archives[TRAIN_IMAGES][:100])
            raise KeyboardInterrupt

    monkeypatch.setattr(pooch, "HTTPDownloader", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_mnist()
    assert files_in(cache) == set()


@pytest.mark.usefixtures("small")
def test_cache_that_cannot_be_written(mirrors, cache):
    cache.write_text("a file where the folder should be")
    with pytest.raises(DatasetNotFoundError, match="Downloading failed:") as caught:
        load_mnist()
    assert str(cache) in str(caught.value)
    assert mirrors.requests == []


@pytest.mark.usefixtures("mirrors")
def test_downloaded_file_with_other_content_is_an_error(small, cache, monkeypatch):
    digests = small.digests()
    digests[TRAIN_LABELS] = digests[TRAIN_LABELS]._replace(content_sha256="0" * 64)
    monkeypatch.setattr(datasets, "_MNIST_FILES", digests)
    path = cache / f"{TRAIN_LABELS}.gz"
    with pytest.raises(ValueError, match=re.escape(f"{path}: not the original MNIST file")):
        load_mnist()


def test_mirrors_are_two_or_more_hosts():
    urls = [urlsplit(url) for url in datasets._MIRRORS]
    assert {url.scheme for url in urls} == {"https"}
    assert len({url.hostname for url in urls}) == len(urls) >= 2
    assert all(url.path.endswith("/") for url in urls)


# ---------------------------------------------------------------------------------------------
# Real MNIST

REAL_MNIST = os.environ.get("OMP_MLP_DATA")
needs_real_mnist = pytest.mark.skipif(
    not REAL_MNIST, reason="OMP_MLP_DATA does not name a folder with MNIST"
)


@needs_real_mnist
def test_real_mnist_standard_split():
    X_train, y_train, X_test, y_test = load_mnist(split="standard", dtype="uint8", download=False)
    assert X_train.shape == (60_000, 784)
    assert X_test.shape == (10_000, 784)
    # The numbers of each digit, as published with the data.
    assert np.bincount(y_train).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert np.bincount(y_test).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    assert y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert y_test[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert round((X_train > 0).mean(), 3) == 0.191
    assert X_train.any(axis=0).sum() == 717
    # The mean that everybody normalises MNIST with.
    assert round(X_train.mean() / 255, 4) == 0.1307


@needs_real_mnist
def test_real_mnist_paper_split():
    X, y, _, _ = load_mnist(split="standard", dtype="uint8", download=False)
    X_train, y_train, X_test, y_test = load_mnist(download=False)
    np.testing.assert_array_equal(y_train, y[:50_000], strict=True)
    np.testing.assert_array_equal(y_test, y[50_000:], strict=True)
    np.testing.assert_array_equal(
        X_train, X[:50_000].astype(np.float32) / np.float32(255), strict=True
    )
    np.testing.assert_array_equal(
        X_test, X[50_000:].astype(np.float32) / np.float32(255), strict=True
    )
    assert X_train.max() == 1


# ---------------------------------------------------------------------------------------------
# The digits of scikit-learn


@pytest.fixture(scope="module")
def originals():
    """Return images (1797, 64) and labels as scikit-learn gives them."""
    bunch = sklearn.datasets.load_digits()
    return bunch.data.astype(np.uint8), bunch.target.astype(np.int64)


@pytest.mark.parametrize("test_fraction", [0.2, 0.5, 1 / 3, 1 / 1797, 1796 / 1797])
def test_load_digits_divides_all_images_by_digit(originals, test_fraction):
    X_train, y_train, X_test, y_test = load_digits(dtype="uint8", test_fraction=test_fraction)
    assert len(X_test) == len(y_test) == round(1797 * test_fraction)
    for X, y in ((X_train, y_train), (X_test, y_test)):
        assert X.dtype == np.uint8
        assert X.flags.c_contiguous
        assert y.dtype == np.int64

    # Together the parts are the whole: each image with its label, as often as in the original.
    def count(X, y):
        return Counter((image.tobytes(), int(label)) for image, label in zip(X, y, strict=True))

    assert count(X_train, y_train) + count(X_test, y_test) == count(*originals)
    for n_test, n in zip(np.bincount(y_test, minlength=10), np.bincount(originals[1]), strict=True):
        assert abs(n_test - n * len(y_test) / 1797) < 1


def test_load_digits_float32_is_the_bytes_over_16():
    for got, grey in zip(load_digits(), load_digits(dtype="uint8"), strict=True):
        expected = grey if grey.ndim == 1 else (grey / 16).astype(np.float32)
        np.testing.assert_array_equal(got, expected, strict=True)
    assert load_digits()[0].max() == 1


def test_load_digits_depends_on_the_seed_alone():
    np.random.seed(1)  # noqa: NPY002  # the global state must not matter
    first = load_digits(seed=3)
    np.random.seed(2)  # noqa: NPY002
    for a, b in zip(first, load_digits(seed=3), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    assert not np.array_equal(first[2], load_digits(seed=4)[2])
    # In random order: not sorted by digit, and not in the original order 0 1 2 ... 9 0 1 2 ...
    assert np.abs(np.diff(first[1]) == 1).mean() < 0.2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dtype": "float64"}, ValueError, "dtype: got 'float64', expected one of"),
        ({"test_fraction": 0.0}, ValueError, "test_fraction: got 0.0, expected a number between"),
        ({"test_fraction": 1}, ValueError, "test_fraction: got 1, expected a number between 0 and"),
        ({"test_fraction": 1e-4}, ValueError, "at least one of the 1797 images"),
        ({"test_fraction": 0.9999}, ValueError, "at least one of the 1797 images"),
        ({"test_fraction": 10**5000}, ValueError, "test_fraction: got int with too many digits"),
        ({"dtype": 10**5000}, ValueError, "dtype: got int with too many digits"),
        ({"test_fraction": math.nan}, ValueError, "test_fraction: got nan"),
        ({"test_fraction": math.inf}, ValueError, "test_fraction: got inf"),
        ({"test_fraction": "0.2"}, TypeError, "test_fraction: got '0.2', expected a number"),
        ({"test_fraction": True}, TypeError, "test_fraction: got True, expected a number"),
        ({"seed": -1}, ValueError, "seed: got -1, expected an integer >= 0"),
        ({"seed": 1.0}, TypeError, "seed: got 1.0, expected an integer >= 0"),
        ({"seed": None}, TypeError, "seed: got None, expected an integer >= 0"),
    ],
)
def test_load_digits_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        load_digits(**arguments)


# ---------------------------------------------------------------------------------------------
# The augmented digits


@pytest.fixture
def unchanged(monkeypatch):
    """Make every copy like its original: only enlarged."""
    for name in ("_MAX_ROTATION", "_MAX_SCALING", "_MAX_SHIFT"):
        monkeypatch.setattr(datasets, name, 0.0)


def enlarged(originals_of, n):
    """Return the unchanged enlargements (n, 784) that training or test images are copies of."""
    X_train, y_train, X_test, y_test = load_augmented_digits(n, n, dtype="uint8")
    return (X_train, y_train) if originals_of == "train" else (X_test, y_test)


def centers(X):
    """Return the centre of mass (n, 2) of square images (n, side * side), as (row, column)."""
    side = math.isqrt(X.shape[1])
    images = X.reshape(-1, side, side).astype(float)
    mass = images.sum(axis=(1, 2))
    rows = (images.sum(axis=2) @ np.arange(side)) / mass
    columns = (images.sum(axis=1) @ np.arange(side)) / mass
    return np.stack([rows, columns], axis=1)


def test_augmented_digits_look_like_mnist():
    X_train, y_train, X_test, y_test = load_augmented_digits(1500, 700, dtype="uint8")
    for X, y, n in ((X_train, y_train, 1500), (X_test, y_test, 700)):
        assert X.shape == (n, 784)
        assert X.dtype == np.uint8
        assert X.flags.c_contiguous
        assert y.shape == (n,)
        assert y.dtype == np.int64
        assert set(y) == set(range(10))
        # Sparse on a background that is exactly 0, with strokes that reach white, as MNIST.
        assert 0.20 < (X > 0).mean() < 0.25
        assert (X > 0).any(axis=1).all()
        assert (X == 255).any(axis=1).mean() > 0.9
        # Digits in the middle: the border is nearly empty.
        border = np.ones((28, 28), bool)
        border[2:-2, 2:-2] = False
        assert (X[:, border.ravel()] > 0).mean() < 0.02
        assert np.abs(centers(X).mean(axis=0) - 13.5).max() < 0.7


def test_augmented_digits_float32_is_the_bytes_over_255():
    grey = load_augmented_digits(60, 30, dtype="uint8")
    for got, expected in zip(load_augmented_digits(60, 30), grey, strict=True):
        if expected.ndim == 2:
            expected = expected.astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(got, expected, strict=True)


def test_augmented_digits_depend_on_the_seed_alone():
    first = load_augmented_digits(60, 30, seed=5)
    for a, b in zip(first, load_augmented_digits(60, 30, seed=5), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    other = load_augmented_digits(60, 30, seed=6)
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[2], other[2])


@pytest.mark.usefixtures("unchanged")
def test_no_original_has_copies_in_both_parts():
    # Without random changes, images are equal if and only if they are copies of one original.
    copies = {}
    for part, n_originals in (("train", 1438), ("test", 359)):
        X, y = enlarged(part, 2 * 1438 + 5)
        copies[part] = Counter(
            (image.tobytes(), int(label)) for image, label in zip(X, y, strict=True)
        )
        assert len(copies[part]) == n_originals
        # Copied equally often, up to one copy.
        assert max(copies[part].values()) - min(copies[part].values()) == 1
    assert not {image for image, _ in copies["train"]} & {image for image, _ in copies["test"]}


@pytest.mark.usefixtures("unchanged")
def test_parts_are_those_of_load_digits():
    # As many copies as originals: each once, so they can be matched by their enlargement.
    X_train, y_train, X_test, y_test = load_augmented_digits(1438, 359, dtype="uint8", seed=8)
    small = load_digits(dtype="uint8", seed=8)
    np.testing.assert_array_equal(np.sort(y_train), np.sort(small[1]))
    np.testing.assert_array_equal(np.sort(y_test), np.sort(small[3]))
    # Enlarging keeps the centre of mass: 8 x 8 pixels around 3.5 become 20 x 20 around 13.5.
    # The stretched contrast moves it by up to about a pixel, so compare all of them in the mean.
    for X, original in ((X_train, small[0]), (X_test, small[2])):
        expected = 13.5 + 2.5 * (centers(original) - 3.5)
        np.testing.assert_allclose(centers(X).mean(axis=0), expected.mean(axis=0), atol=0.1)
        np.testing.assert_allclose(centers(X).std(axis=0), expected.std(axis=0), rtol=0.3)


@pytest.mark.usefixtures("unchanged")
def test_enlargement_of_each_image_is_its_own():
    # Reduced again, a copy is most like one of the originals with its label: the very one.
    X_small, y_small, _, _ = load_digits(dtype="uint8")
    X, y = enlarged("train", 300)
    # Sample the enlargement where the centres of the original pixels are, with linear weights.
    at = 13.5 + 2.5 * (np.arange(8) - 3.5)
    low = np.floor(at).astype(int)
    weights = np.zeros((8, 28))
    weights[np.arange(8), low] = low + 1 - at
    weights[np.arange(8), low + 1] = at - low
    reduced = np.einsum("ir,nrc,jc->nij", weights, X.reshape(-1, 28, 28) / 255, weights)
    # The contrast as the enlargement stretches it.
    stretched = np.clip((X_small / 16 - 0.25) / 0.55, 0, 1)
    distance = ((reduced.reshape(-1, 1, 64) - stretched) ** 2).mean(axis=2)
    nearest = distance.argmin(axis=1)
    np.testing.assert_array_equal(y, y_small[nearest])
    assert distance.min(axis=1).max() < 0.02
    assert len(set(nearest)) == 300


@pytest.mark.parametrize("change", ["shift", "rotation", "scaling"])
@pytest.mark.usefixtures("unchanged")
def test_each_random_change_keeps_its_limits(monkeypatch, change):
    n = 359  # each test original once, in the same order with and without the change
    base, _ = enlarged("test", n)
    limit = {"shift": 2.0, "rotation": math.radians(12), "scaling": 0.12}[change]
    monkeypatch.setattr(datasets, f"_MAX_{change.upper()}", limit)
    changed, _ = enlarged("test", n)
    assert not np.array_equal(base, changed)
    before, after = centers(base) - 13.5, centers(changed) - 13.5
    if change == "shift":
        moved = after - before
        assert np.abs(moved).max() < limit + 0.15
        # Uniform on both sides, rows and columns independently.
        np.testing.assert_allclose(moved.std(axis=0), limit / math.sqrt(3), rtol=0.1)
        assert abs(np.corrcoef(moved.T)[0, 1]) < 0.2
        assert np.abs(moved.mean(axis=0)).max() < 0.25
        return

    def spread(X, axis):
        images = X.reshape(-1, 28, 28).astype(float)
        profile = images.sum(axis=axis)
        position = np.arange(28) - ((profile @ np.arange(28)) / profile.sum(axis=1))[:, np.newaxis]
        return np.sqrt((profile * position**2).sum(axis=1) / profile.sum(axis=1))

    if change == "scaling":
        factors = np.stack([spread(changed, a) / spread(base, a) for a in (2, 1)], axis=1)
        assert factors.min() > 1 - limit - 0.01
        assert factors.max() < 1 + limit + 0.01
        np.testing.assert_allclose(factors.mean(axis=0), 1, atol=0.02)
        np.testing.assert_allclose(factors.std(axis=0), limit / math.sqrt(3), rtol=0.1)
        assert abs(np.corrcoef(factors.T)[0, 1]) < 0.2  # height and width independently
        return

    # Rotation: the axis of the second moments turns by the angle. Ones, long and thin, show it.
    def axis_angle(X):
        images = X.reshape(-1, 28, 28).astype(float)
        center = centers(X)
        row = np.arange(28)[:, np.newaxis] - center[:, :1, np.newaxis]
        column = np.arange(28) - center[:, 1:, np.newaxis]
        second = [(images * a).sum(axis=(1, 2)) for a in (row * row, column * column, row * column)]
        return 0.5 * np.arctan2(2 * second[2], second[0] - second[1])

    X_test, y_test = enlarged("test", n)
    ones = y_test == 1
    turned = axis_angle(X_test[ones]) - axis_angle(base[ones])
    assert np.abs(turned).max() < limit + math.radians(2)
    assert turned.std() == pytest.approx(limit / math.sqrt(3), rel=0.25)
    # Turning about the centre keeps the distance from it.
    np.testing.assert_allclose(np.hypot(*after[ones].T), np.hypot(*before[ones].T), atol=0.3)


def test_augmented_digits_can_be_told_apart():
    # The nearest of 3,000 training images has the label of almost every test image: images and
    # labels belong together in both parts, and both are drawn alike.
    X_train, y_train, X_test, y_test = load_augmented_digits(3000, 359)
    distance = (X_train**2).sum(axis=1) - 2 * X_test @ X_train.T
    assert (y_train[distance.argmin(axis=1)] == y_test).mean() > 0.9


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_train": 0}, ValueError, "n_train: got 0, expected an integer >= 1"),
        ({"n_test": -5}, ValueError, "n_test: got -5, expected an integer >= 1"),
        ({"n_train": 10.0}, TypeError, "n_train: got 10.0, expected an integer >= 1"),
        ({"n_test": True}, TypeError, "n_test: got True, expected an integer >= 1"),
        ({"dtype": "int8"}, ValueError, "dtype: got 'int8', expected one of 'float32', 'uint8'"),
        ({"seed": -1}, ValueError, "seed: got -1, expected an integer >= 0"),
        ({"seed": "0"}, TypeError, "seed: got '0', expected an integer >= 0"),
    ],
)
def test_load_augmented_digits_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        load_augmented_digits(**arguments)


def test_numpy_integers_are_integers():
    X_train, _, X_test, _ = load_augmented_digits(np.int64(1), np.uint8(2), seed=np.int32(0))
    assert (len(X_train), len(X_test)) == (1, 2)


# ---------------------------------------------------------------------------------------------
# Dependencies


@pytest.mark.parametrize(
    ("module", "package", "load"),
    [
        ("pooch", "pooch", load_mnist),
        ("sklearn.datasets", "scikit-learn", load_digits),
        ("sklearn.datasets", "scikit-learn", load_augmented_digits),
        ("scipy.ndimage", "SciPy", load_augmented_digits),
    ],
)
@pytest.mark.usefixtures("small")
def test_missing_dependency_names_the_extra(monkeypatch, module, package, load):
    monkeypatch.setitem(sys.modules, module, None)  # makes its import fail
    with pytest.raises(ImportError, match=re.escape('pip install "omp_mlp[data]"')) as caught:
        load()
    assert f"needs {package}: pip" in str(caught.value)


@pytest.mark.usefixtures("small")
def test_missing_pooch_still_says_where_mnist_was_looked_for(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError) as caught:
        load_mnist()
    assert f"{cache} (the cache folder): no {TRAIN_IMAGES}[.gz]" in str(caught.value)


def test_importing_the_module_needs_numpy_alone():
    tree = ast.parse(Path(datasets.__file__).read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            if node.module == "omp_mlp":
                assert [alias.name for alias in node.names] == [
                    "checks",
                    "disk",
                    "extras",
                ]  # nothing else of it
                continue
            imported.add(node.module.split(".")[0])
    assert imported - sys.stdlib_module_names - {"__future__"} == {"numpy"}
