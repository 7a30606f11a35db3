"""Whatever valid content is written comes back equal; hypothesis looks for what does not, the same way on every run."""

from pathlib import Path

import hypothesis.extra.numpy as arrays_of
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as some
from PIL import Image
from scipy.io import savemat

from datasets.camera import Camera
from datasets.files import DataError, check_scan_name, read_json, read_scan_list, write_json
from datasets.formats.images import read_depth_png, read_image, read_image_size, write_image
from datasets.formats.mat import read_mat
from datasets.formats.pfm import read_pfm, write_pfm
from datasets.formats.ply import read_ply, read_ply_count, write_ply
from datasets.io import read_camera, read_dmb, read_pairs, write_camera, write_dmb, write_pairs

repeatable = settings(derandomize=True, deadline=None, database=None, max_examples=150)

sizes = some.integers(1, 9)
maps = arrays_of.arrays(np.float32, some.tuples(sizes, sizes) | some.tuples(sizes, sizes, some.just(3)))
moderate = some.floats(-1e6, 1e6, width=32)
views = some.integers(0, 99_999_999)
names = some.text(some.characters(blacklist_categories=("Cs",)), min_size=1, max_size=80)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the files are written, one over the other."""
    return tmp_path_factory.mktemp("round_trips")


@repeatable
@given(data=maps)
def test_pfm(folder, data):
    """Every bit of a map, of not-a-number too."""
    write_pfm(folder / "a.pfm", data)
    assert read_pfm(folder / "a.pfm").tobytes() == data.tobytes()


@repeatable
@given(data=maps)
def test_dmb(folder, data):
    """The same for gipuma's format."""
    write_dmb(folder / "a.dmb", data)
    read = read_dmb(folder / "a.dmb")
    assert read.tobytes() == data.tobytes() and read.shape == data.shape


@repeatable
@given(
    values=some.lists(moderate, min_size=17, max_size=17),
    last=some.lists(moderate, min_size=0, max_size=4),
)
def test_camera(folder, values, last):
    """Matrices in float32, the depth line to nine digits; only such as cannot be inverted are refused."""
    K = np.array([[values[0], values[1], values[2]], [0, values[3], values[4]], [0, 0, 1]])
    cam_T_world = np.vstack([np.reshape(values[5:], (3, 4)), [0, 0, 0, 1]])
    camera = Camera(K, cam_T_world, tuple(last))
    write_camera(folder / "a_cam.txt", camera)
    assume(min(abs(np.linalg.det(K)), abs(np.linalg.det(cam_T_world))) > 1e-11)
    read = read_camera(folder / "a_cam.txt")
    for written, found in ((K, read.K), (cam_T_world, read.cam_T_world)):
        np.testing.assert_array_equal(found.astype(np.float32), written.astype(np.float32))
    np.testing.assert_allclose(read.depth_line, last, rtol=1e-8)


@repeatable
@given(
    lists=some.dictionaries(views, some.lists(some.tuples(views, some.floats(0.01, 1e9)), max_size=6), min_size=1),
)
def test_pairs(folder, lists):
    """Views and sources in order, each once, but for a view as its own; a pair file without any source is refused."""
    write_pairs(folder / "pair.txt", list(lists.items()))
    once = {reference: dict.fromkeys(k for k, _ in sources) for reference, sources in lists.items()}
    expected = [(reference, [k for k in sources if k != reference]) for reference, sources in once.items()]
    if not any(sources for _, sources in expected):
        with pytest.raises(DataError):
            read_pairs(folder / "pair.txt")
    else:
        assert read_pairs(folder / "pair.txt") == expected


@repeatable
@given(image=arrays_of.arrays(np.uint8, some.tuples(sizes, sizes, some.just(3))))
def test_png(folder, image):
    """Colours and size."""
    write_image(folder / "a.png", image)
    np.testing.assert_array_equal(read_image(folder / "a.png"), image)
    assert read_image_size(folder / "a.png") == image.shape[1::-1]


@repeatable
@given(depth=arrays_of.arrays(np.uint16, some.tuples(sizes, sizes)))
def test_depth_png(folder, depth):
    """All values of 16 bits."""
    Image.fromarray(depth).save(folder / "a.png")
    np.testing.assert_array_equal(read_depth_png(folder / "a.png"), depth)


@repeatable
@given(points=arrays_of.arrays(np.float32, some.tuples(some.integers(0, 9), some.just(3))), colours=some.data())
def test_ply(folder, points, colours):
    """Points bit by bit, with their colours; an empty cloud too."""
    rgb = colours.draw(arrays_of.arrays(np.uint8, points.shape))
    write_ply(folder / "a.ply", points, rgb)
    found, found_rgb = read_ply(folder / "a.ply")
    assert found.tobytes() == points.tobytes() and read_ply_count(folder / "a.ply") == len(points)
    np.testing.assert_array_equal(found_rgb, rgb)


NUMBERS = [np.dtype(kind) for kind in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")]


@repeatable
@given(
    array=some.sampled_from(NUMBERS).flatmap(
        lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=2, max_dims=4, max_side=5))
    ),
    compressed=some.booleans(),
    name=some.from_regex(r"[A-Za-z][A-Za-z0-9]{0,20}", fullmatch=True),
)
def test_mat(folder, array, compressed, name):
    """Arrays of every type of numbers, written by scipy, beside another variable."""
    savemat(folder / "a.mat", {"other_": "text", name: array}, do_compression=compressed)
    read = read_mat(folder / "a.mat", (name,))[name]
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype


@repeatable
@given(
    content=some.recursive(
        some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(),
        lambda children: some.lists(children) | some.dictionaries(some.text(), children),
        max_leaves=20,
    )
)
def test_json(folder, content):
    """Records of numbers, texts, lists and objects."""
    write_json(folder / "a.json", content)
    assert read_json(folder / "a.json") == content


@repeatable
@given(name=names)
def test_scan_names(folder, name):
    """A name that is allowed stays below its folder, can be made there, and survives a list; others are refused."""
    try:
        check_scan_name(name, "test")
    except DataError:
        return
    assert (folder / "root" / name).resolve().parent == (folder / "root").resolve()
    (folder / "root" / f".{name}_train.12345678.tmp").mkdir(parents=True, exist_ok=True)
    (folder / "scans.txt").write_text(name, encoding="utf-8")
    if name == name.strip():
        assert read_scan_list(folder / "scans.txt") == [name]
