"""The scenes of other programs: the same cameras, points and ranges from every format, and a way for those not read."""

import json

import numpy as np
import pytest
from scene_files import CX, CY, NAMES, POINTS, POSES, SCENES, SIZE, F, metashape_xml, write_photos, write_scene

from datasets.files import DataError
from datasets.formats.scenes import read_scene
from datasets.photos.remarks import Remarks

WITH_POINTS = ("bundle.out", "scene.nvm", "sfm_data.json")
RANGES = {"poses_bounds.npy": (3.0, 7.0), "cameras_sphere.npz": (3.0, 7.0)}


@pytest.mark.parametrize("given", ["file", "folder"])
@pytest.mark.parametrize("name", [*SCENES, "a.jpg.camera"])
def test_every_format(tmp_path, name, given):
    """Names, sizes, K and poses, from the file and from its folder; every photo's file is found."""
    path = write_scene(tmp_path, name)
    scene, folders = read_scene(path if given == "file" else tmp_path)
    assert [photo.name.split("/")[-1] for photo in scene.photos] == list(NAMES)
    for photo, pose in zip(scene.photos, POSES, strict=True):
        np.testing.assert_allclose(photo.cam_T_world, pose, atol=1e-9)
        np.testing.assert_allclose(photo.lens.K, [[F, 0, CX], [0, F, CY], [0, 0, 1]], atol=1e-9)
        assert photo.lens.size == SIZE and photo.lens.distortion == ()
        assert folders.find(photo.name) == tmp_path / "images" / photo.name.split("/")[-1]
    if name in WITH_POINTS:
        np.testing.assert_allclose(scene.points, POINTS, atol=1e-12)
        assert len(scene.tracks) == 3 * len(POINTS)
    if name in RANGES:
        np.testing.assert_allclose(scene.ranges, [RANGES[name]] * 3, atol=0.2)


def test_cameras_of_metashape(tmp_path):
    """Those of the largest chunk and component, which gives the scale; disabled ones may be where they once were."""
    write_photos(tmp_path)
    cameras, said = metashape_xml(), []
    path, remarks = tmp_path / "cameras.xml", Remarks(strict=False, say=said.append)
    path.write_text(cameras.replace('id="2"', 'id="2" enabled="false"'))
    assert [photo.name for photo in read_scene(path, remarks=remarks)[0].photos] == ["a.jpg", "b.jpg"]
    path.write_text(cameras.replace("<chunk", '<chunk label="empty"/><chunk', 1))
    assert len(read_scene(path, remarks=remarks)[0].photos) == 3
    components = "".join(
        f'<component id="{k}"><transform><scale>{k + 2}</scale></transform></component>' for k in range(2)
    )
    for k, component in enumerate((1, 0, 1)):
        cameras = cameras.replace(f'<camera id="{k}"', f'<camera id="{k}" component_id="{component}"')
    path.write_text(cameras.replace("<cameras>", f"<components>{components}</components><cameras>"))
    photos = read_scene(path, remarks=remarks)[0].photos
    assert [photo.name for photo in photos] == ["a.jpg", "c.jpg"]
    np.testing.assert_allclose(photos[0].centre, 3 * np.linalg.inv(POSES[0])[:3, 3], atol=1e-9)
    for problem, line in zip(("c.jpg is disabled", "not used: 'empty'", "b.jpg is of another"), said, strict=True):
        assert problem in line


def test_names_with_spaces_in_a_list_of_bundler(tmp_path):
    """Only what stands behind a name is cut off: 0 and the focal length."""
    path = write_scene(tmp_path, "bundle.out")
    (tmp_path / "images" / "a.jpg").rename(tmp_path / "images" / "my a 0 1.jpg")
    (tmp_path / "list.txt").write_text("images/my a 0 1.jpg 0 60.5\nimages/b.jpg\nimages/c.jpg 0 6e1\n")
    assert [photo.name for photo in read_scene(path)[0].photos] == [f"images/{n}.jpg" for n in ("b", "c", "my a 0 1")]


def _with(name: str, change) -> str:
    content = json.loads(SCENES[name]())
    change(content)
    return json.dumps(content)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("cameras.sfm", lambda scene: scene.pop("poses"), "holds no poses; .* StructureFromMotion"),
        ("cameras.sfm", lambda scene: scene.update(rigs=[{"rigId": "1"}]), "rigs .* export the scene as COLMAP"),
        (
            "sfm_data.json",
            lambda scene: scene["intrinsics"][0]["value"].update(
                polymorphic_name="spherical", ptr_wrapper={"data": {"value0": {"width": 64, "height": 48}}}
            ),
            "camera type 'spherical' .* export undistorted photos",
        ),
    ],
)
def test_scenes_that_are_refused(tmp_path, name, change, message):
    """What would give wrong poses, or none, with what to do."""
    write_photos(tmp_path)
    (tmp_path / name).write_text(_with(name, change))
    with pytest.raises(DataError, match=message):
        read_scene(tmp_path / name)


def test_ranges_that_are_none(tmp_path):
    """They are not used, and it is said."""
    said = []
    path = write_scene(tmp_path, "poses_bounds.npy")
    rows = np.load(path)
    rows[1, 15] = 0
    np.save(path, rows)
    assert read_scene(path, remarks=Remarks(say=said.append))[0].ranges is None and "bounds are not" in said[0]
    path = write_scene(tmp_path, "cameras_sphere.npz")
    np.savez(path, **{name: matrix for name, matrix in np.load(path).items() if "world" in name})
    assert read_scene(path, remarks=Remarks(say=said.append))[0].ranges is None and "lacks a sphere" in said[1]


def test_distortion_of_metashape(tmp_path):
    """P1 and P2 change places with OpenCV's; what is not understood stops the import and is named."""
    write_photos(tmp_path)
    path = tmp_path / "cameras.xml"
    path.write_text(metashape_xml("<k1>0.1</k1><p1>0.01</p1><p2>0.02</p2><b1>3</b1>"))
    lens = read_scene(path)[0].photos[0].lens
    assert lens.distortion[:4] == (0.1, 0, 0.02, 0.01) and lens.K[0, 0] == F + 3 and lens.K[1, 1] == F
    path.write_text(metashape_xml("<k4>0.1</k4>"))
    assert read_scene(path)[0].photos[0].lens.model == "radial8"
    path.write_text(metashape_xml("<b2>0.5</b2>"))
    with pytest.raises(DataError, match="the calibration's b2 is not supported"):
        read_scene(path)
    path.write_text('<!DOCTYPE a [<!ENTITY b "c">]>' + metashape_xml())
    with pytest.raises(DataError, match="declarations"):
        read_scene(path)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("project.psx", "Export Cameras"),
        ("scene.mvs", "as COLMAP"),
        ("database.db", "run COLMAP's mapper"),
        ("scene.rcproj", "RealityScan as COLMAP"),
        ("scene.abc", "ConvertSfMFormat"),
        ("notes.txt", "docs/formats.md"),
    ],
)
def test_what_is_not_read(tmp_path, name, advice):
    """One sentence on how to convert it, for the file and for a folder that holds it."""
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=advice) as caught:
        read_scene(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(DataError, match=advice):
        read_scene(tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        read_scene(tmp_path / "nowhere")


def test_several_scenes_in_a_folder(tmp_path):
    """One is read, and the others are named."""
    said = []
    write_scene(tmp_path, "scene.nvm")
    write_scene(tmp_path, "transforms.json")
    read_scene(tmp_path, remarks=Remarks(say=said.append))
    assert "transforms.json is read; also there, not used: scene.nvm" in said[0]
    (tmp_path / "transforms.json").rename(tmp_path / "transforms_train.json")
    for name in ("transforms_test.json", "transforms_val.json", "other.nvm"):
        (tmp_path / name).touch()
    read_scene(tmp_path, remarks=Remarks(say=said.append))
    others = "transforms_test.json, transforms_val.json, other.nvm, scene.nvm"
    assert f"transforms_train.json is read; also there, not used: {others}" in said[1]


@pytest.mark.parametrize("name", ["scene.nvm", "bundle.out"])
def test_a_photo_that_is_not_there(tmp_path, name):
    """Formats that take sizes from the photos go on without it, or refuse."""
    path = write_scene(tmp_path, name)
    (tmp_path / "images" / "b.jpg").unlink()
    said = []
    scene, _ = read_scene(path, remarks=Remarks(strict=False, say=said.append))
    assert len(scene.photos) == 2 and len(scene.tracks) == 2 * len(POINTS)
    assert len(said) == 1 and "b.jpg is not there" in said[0]
    with pytest.raises(DataError, match=r"b\.jpg is not there"):
        read_scene(path)
