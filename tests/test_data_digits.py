"""Digits come from where the user says, and never silently from elsewhere."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pooch
import pytest
from data_cases import idx_bytes, write_mnist

from air3d.data import DataError, load_digits


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Make every download fail, and no folder be set from outside."""
    monkeypatch.delenv("AIR3D_MNIST", raising=False)

    def offline(*args, **kwargs):
        raise ConnectionError("no network in tests")

    monkeypatch.setattr(pooch, "retrieve", offline)


@pytest.mark.parametrize("compress", [True, False])
def test_a_folder_is_read_split_by_split(tmp_path, compress):
    train = write_mnist(tmp_path / "m", "train", 7, compress)
    test = write_mnist(tmp_path / "m", "t10k", 4, compress)
    for split, images in (("train", train), ("test", test)):
        digits = load_digits(split, folder=tmp_path / "m")
        assert np.array_equal(digits.images.numpy(), images)
        assert digits.labels.tolist() == list(range(len(images)))
        assert "not the published MNIST" in digits.source


def test_the_environment_names_a_folder_but_the_option_wins(tmp_path, monkeypatch):
    write_mnist(tmp_path / "a", "train", 3)
    write_mnist(tmp_path / "b", "train", 6)
    monkeypatch.setenv("AIR3D_MNIST", str(tmp_path / "a"))
    assert len(load_digits("train")) == 3
    assert len(load_digits("train", folder=tmp_path / "b")) == 6


@pytest.mark.parametrize("by_variable", [True, False])
@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda folder, images, labels: images.unlink(), "has no file train-images"),
        (
            lambda folder, images, labels: images.write_bytes(images.read_bytes()[:-20]),
            "download it again",
        ),
        (lambda folder, images, labels: images.write_bytes(b"no gzip"), "download it again"),
        (
            lambda folder, images, labels: images.write_bytes(labels.read_bytes()),
            "is not an IDX file of 3-d bytes",
        ),
        (
            lambda folder, images, labels: images.write_bytes(
                gzip.compress(gzip.decompress(images.read_bytes())[:-1])
            ),
            "truncated",
        ),
        (
            lambda folder, images, labels: images.write_bytes(
                gzip.compress(idx_bytes(np.zeros((5, 8, 8), np.uint8)))
            ),
            r"wanted \[n, 28, 28\]",
        ),
        (
            lambda folder, images, labels: labels.write_bytes(
                gzip.compress(idx_bytes(np.zeros(4, np.uint8)))
            ),
            "4 labels for 5 images",
        ),
    ],
    ids=["missing", "cut_gzip", "no_gzip", "wrong_rank", "cut_idx", "wrong_size", "labels"],
)
def test_a_given_folder_that_is_wrong_is_an_error_and_no_fall_back(
    tmp_path, monkeypatch, damage, fault, by_variable
):
    write_mnist(tmp_path, "train", 5)
    damage(
        tmp_path,
        tmp_path / "train-images-idx3-ubyte.gz",
        tmp_path / "train-labels-idx1-ubyte.gz",
    )
    if by_variable:
        monkeypatch.setenv("AIR3D_MNIST", str(tmp_path))
    with pytest.raises(DataError, match=fault) as caught:
        load_digits("train", folder=None if by_variable else tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        load_digits("test", folder=tmp_path / "gone")


def test_without_a_network_the_digits_are_scikit_learns_and_say_so():
    with pytest.warns(UserWarning, match="NOT MNIST"):
        train = load_digits("train")
    with pytest.warns(UserWarning, match="NOT MNIST"):
        test = load_digits("test")
    for digits in (train, test):
        assert "scikit-learn digits (8x8), NOT MNIST" in digits.source
        assert set(digits.labels.tolist()) == set(range(10))
        assert digits.images.max() > 200
    assert len(train) + len(test) == 1797
    seen = {image.numpy().tobytes() for image in train.images}
    assert not any(image.numpy().tobytes() in seen for image in test.images)


def test_a_download_is_cached_and_both_mirrors_are_tried(tmp_path, monkeypatch):
    images = write_mnist(tmp_path / "m", "t10k", 4)
    asked = []

    def retrieve(url, known_hash, fname, path, downloader):
        asked.append(url)
        if "ossci-datasets" in url:
            raise ConnectionError("down")
        Path(path).mkdir(parents=True, exist_ok=True)
        (Path(path) / fname).write_bytes((tmp_path / "m" / fname).read_bytes())

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    assert np.array_equal(load_digits("test").images.numpy(), images)
    assert len(asked) == 4 and "cvdf-datasets" in asked[-1]


def test_a_download_that_differs_from_the_published_file_is_an_error(monkeypatch):
    def retrieve(*args, **kwargs):
        raise ValueError("hash mismatch " + hashlib.sha256(b"").hexdigest())

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(DataError, match="differs from the published file"):
        load_digits("train")
