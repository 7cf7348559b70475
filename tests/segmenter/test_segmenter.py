from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.tiny_model import COLOURS, ColourModel, colour_segmenter, tiny_segformer

import triptych.segmenter.loading
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.mask_set import MaskSet
from triptych.readings.settings import ReadingSettings
from triptych.segmenter import Segmenter, load
from triptych.windows.layout import Windows


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=generator)


def logits_of(masks: MaskSet) -> torch.Tensor:
    assert masks.class_logits is not None
    return masks.class_logits


class TestCall:
    def test_one_picture_gives_one_mask_set(self, tmp_path):
        image = torch.zeros(10, 22, 3, dtype=torch.uint8)
        image[:, 11:, 0] = 255
        Image.fromarray(image.numpy()).save(tmp_path / "x.png")
        segmenter = colour_segmenter()
        for source in (image, image.numpy(), tmp_path / "x.png", str(tmp_path / "x.png")):
            masks = segmenter(source)
            assert masks.mask_logits.shape == (3, 3, 6)
            assert masks.classes is segmenter.classes
            assert masks.geometry.image_size == (10, 22)
            assert masks.geometry.valid_size == (10, 22)
            assert masks.geometry.input_size == (12, 24)
            (instance,) = masks.instances()
            assert instance.name == "red"
            assert abs(instance.mask.float().mean().item() - 0.5) < 0.06

    def test_mask_sets_are_read_as_the_checkpoint_asks(self, tmp_path):
        tiny = tiny_segformer()
        tiny.readings = ReadingSettings(overlap=0.6)
        tiny.save(tmp_path)
        assert load(tmp_path, "cpu")(picture(40, 50)).readings.overlap == 0.6

    def test_a_list_gives_a_list_in_its_order(self):
        segmenter = colour_segmenter()
        sizes = [(8, 8), (8, 12), (5, 7), (8, 11), (8, 8)]
        images = [picture(*size, seed) for seed, size in enumerate(sizes)]
        found = segmenter(images)
        assert [m.geometry.image_size for m in found] == sizes
        for masks, image in zip(found, images, strict=True):
            assert torch.equal(masks.mask_logits, segmenter(image).mask_logits)
        assert segmenter([]) == []
        assert len(segmenter(tuple(images[:1]))) == 1

    def test_batches_are_of_one_size_and_not_larger_than_asked(self):
        segmenter = colour_segmenter()
        model = segmenter.model
        assert isinstance(model, ColourModel)
        segmenter([picture(8, 8)] * 5, batch_size=2)
        assert [shape[0] for shape in model.batches] == [2, 2, 1]
        model.batches.clear()
        segmenter([picture(8, 8), picture(8, 40), picture(7, 5)], batch_size=3)
        assert sorted(model.batches) == [(1, 3, 8, 40), (2, 3, 8, 8)]
        with pytest.raises(TriptychError, match="batch_size is 0"):
            segmenter([picture(8, 8)], batch_size=0)

    @pytest.mark.parametrize("batch_size", [1, 2, 6])
    def test_results_do_not_depend_on_the_company(self, batch_size):
        # A network whose attention reaches everywhere, padding included.
        segmenter = tiny_segformer()
        images = [picture(*size, 1) for size in [(64, 96), (90, 64), (30, 45), (64, 96), (64, 65)]]
        together = segmenter(images, batch_size=batch_size)
        for masks, image in zip(together, images, strict=True):
            alone = segmenter(image)
            assert masks.geometry == alone.geometry
            assert torch.allclose(masks.mask_logits, alone.mask_logits, atol=1e-5)

    def test_what_does_not_pad_is_left_alone(self):
        segmenter = colour_segmenter(size_divisor=6, pad=False)
        assert segmenter.preprocess.size_divisor == 6
        assert segmenter(picture(9, 13)).geometry.input_size == (9, 13)

    def test_the_networks_divisor_is_respected(self):
        assert colour_segmenter(size_divisor=6).preprocess.size_divisor == 12
        assert tiny_segformer()(picture(40, 90)).geometry.input_size == (64, 128)

    def test_evaluation_mode_without_gradients_but_with_ordinary_tensors(self):
        segmenter = tiny_segformer()
        assert not segmenter.model.training
        masks = segmenter(picture(64, 64))
        assert not masks.mask_logits.is_inference()
        assert not masks.mask_logits.requires_grad
        assert masks.competition == "softmax"

    def test_kept_results_do_not_hold_the_batch(self):
        first, _ = colour_segmenter()([picture(8, 8), picture(8, 8)])
        assert first.mask_logits.untyped_storage().nbytes() == first.mask_logits.numel() * 4

    def test_mask_sets_have_the_settings_of_the_checkpoint(self):
        for settings in (ReadingSettings(things_only=False), ReadingSettings(top=7)):
            segmenter = Segmenter(ColourModel(), Preprocess(), COLOURS, settings)
            assert segmenter(picture(8, 8)).readings == settings

    def test_bad_pictures_are_named(self, tmp_path):
        with pytest.raises(TriptychError, match=r"gone\.png: no such file"):
            colour_segmenter()([picture(8, 8), tmp_path / "gone.png"])

    def test_autocast_computes_in_bfloat16_and_returns_float32(self):
        segmenter = tiny_segformer()
        exact = segmenter(picture(64, 64))
        segmenter.autocast = torch.bfloat16
        rough = segmenter(picture(64, 64))
        assert rough.mask_logits.dtype == torch.float32
        difference = (rough.mask_logits - exact.mask_logits).abs().max()
        assert 0 < difference < 0.1


class TestSaveAndLoad:
    def test_round_trip(self, tmp_path):
        before = tiny_segformer()
        before.save(tmp_path / "new" / "model")
        after = load(tmp_path / "new" / "model")
        assert after.classes == before.classes
        assert after.preprocess == before.preprocess
        assert after.notes == {"trained": False}
        assert after.name == str(tmp_path / "new" / "model")
        image = picture(50, 70)
        assert torch.equal(after(image).mask_logits, before(image).mask_logits)
        after.save(tmp_path / "again")
        for name in ("config.json", "model.safetensors"):
            first, second = (tmp_path / d / name for d in ("new/model", "again"))
            assert first.read_bytes() == second.read_bytes()

    def test_half_the_size_in_the_file_is_float32_in_memory(self, tmp_path):
        before = tiny_segformer()
        before.save(tmp_path / "full")
        before.save(tmp_path / "half", torch.float16)
        sizes = [(tmp_path / d / "model.safetensors").stat().st_size for d in ("full", "half")]
        assert sizes[1] < 0.7 * sizes[0]
        after = load(tmp_path / "half")
        assert after.dtype == torch.float32
        image = picture(64, 64)
        assert torch.allclose(after(image).mask_logits, before(image).mask_logits, atol=0.01)
        narrow = load(tmp_path / "half", dtype=torch.bfloat16)
        assert narrow.dtype == torch.bfloat16
        assert narrow(image).mask_logits.dtype == torch.float32

    def test_without_the_way_it_is_built_it_cannot_be_saved(self, tmp_path):
        with pytest.raises(TriptychError, match="family and arguments"):
            Segmenter(ColourModel(), Preprocess(), COLOURS).save(tmp_path)

    def test_bundled_names_come_first_and_paths_mean_folders(self, tmp_path, monkeypatch):
        tiny_segformer().save(tmp_path / "installed")
        installed = {"street": tmp_path / "installed"}
        monkeypatch.setattr(triptych.segmenter.loading, "bundled", lambda: installed)
        monkeypatch.chdir(tmp_path)
        Path("street").mkdir()
        assert load("street").name == "street"
        for folder in ("./street", Path("street")):
            with pytest.raises(TriptychError, match=r"street: holds no config\.json"):
                load(folder)

    def test_an_unknown_name_says_what_there_is(self, tmp_path):
        with pytest.raises(TriptychError, match=r"no model 'streat'.*nor bundled .*street"):
            load("streat")
        with pytest.raises(TriptychError, match="streat: there is no such folder or file"):
            load(tmp_path / "streat")

    def test_a_hub_name_is_fetched(self, tmp_path, monkeypatch):
        tiny_segformer().save(tmp_path)
        asked = []

        def fetch(name, revision, token):
            asked.append((name, revision, token))
            return tmp_path

        monkeypatch.setattr(triptych.segmenter.loading, "fetch", fetch)
        assert load("owner/model", revision="v1", token="secret").name == "owner/model"
        assert asked == [("owner/model", "v1", "secret")]

    def test_a_file_is_read_with_the_config_beside_it(self, tmp_path):
        before = tiny_segformer()
        before.save(tmp_path)
        (tmp_path / "model.safetensors").rename(tmp_path / "best.safetensors")
        after = load(tmp_path / "best.safetensors")
        image = picture(50, 70)
        assert torch.equal(after(image).mask_logits, before(image).mask_logits)

    @pytest.mark.parametrize("content", ["{}", "[]", '{"model": "yolo"}'])
    def test_a_config_of_something_else(self, content, tmp_path):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(TriptychError, match=r"config\.json: is neither of Triptych"):
            load(tmp_path)

    @pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
    def test_an_absent_device(self, device, tmp_path):
        with pytest.raises(TriptychError, match=f"no device '{device}' here"):
            load(tmp_path, device=device)


class TestRegroup:
    def test_it_shares_network_and_engine_and_leaves_the_first_alone(self):
        first = colour_segmenter()
        few = first.regroup({"any": ["green", "red"]})
        assert few.model is first.model
        assert few.engine is first.engine
        assert first.classes == COLOURS
        assert first.table is None
        assert few.classes.names == ("any",)
        assert few.network_classes == COLOURS
        image = torch.zeros(16, 32, 3, dtype=torch.uint8)
        image[:, :8, 0] = image[:, 16:24, 1] = image[:, 8:16, 2] = 255
        assert [i.name for i in few(image).instances()] == ["any", "any"]
        assert sorted(i.name for i in first(image).instances()) == ["green", "red"]

    def test_probabilities_add_up(self):
        first = colour_segmenter()
        image = picture(20, 24)
        whole = logits_of(first(image)).softmax(1)
        some = logits_of(first.regroup({"a": ["red", "green"]})(image)).softmax(1)
        expected = torch.stack((whole[:, 0] + whole[:, 1], whole[:, 2] + whole[:, 3]), 1)
        torch.testing.assert_close(some, expected)

    def test_again_it_groups_the_present_classes(self):
        tiny = tiny_segformer()
        first = tiny.regroup({"ground": ["road", "tree"], "car": [], "sky": []})
        again = first.regroup({"scenery": ["ground", "sky"]})
        assert again.network_classes == tiny.classes
        assert again(picture(40, 60)).groups == (0, 0, 0, 1)
        with pytest.raises(TriptychError, match="the checkpoint has no class 'road'"):
            first.regroup({"way": ["road"]})

    def test_windows_are_regrouped_as_well(self):
        image = picture(96, 160)
        few = tiny_segformer().regroup({"way": ["road"], "car": []})
        masks = few(image, windows=Windows(64, 16))
        assert masks.classes.names == ("way", "car")
        ids = masks.semantic().ids
        assert set(ids.unique().tolist()) <= {0, 1, 255}
        window, part = masks.windows[0], masks.parts[0]
        assert torch.equal(ids[window.core], part.semantic().ids[window.inner])
        assert part.groups == (2, 0, 2, 1)
        assert {s.name for s in masks.panoptic(0.0).segments} <= {"way", "car"}
        assert masks.overlay(image).width > 3 * 160

    def test_a_saved_one_is_there_again(self, tmp_path):
        few = tiny_segformer().regroup({"way": ["road"], "thing": ["car"]})
        few.save(tmp_path / "few")
        again = load(tmp_path / "few", "cpu")
        assert (again.classes, again.table) == (few.classes, few.table)
        assert again.network_classes == few.network_classes
        image = picture(40, 60)
        assert torch.equal(again(image).semantic().ids, few(image).semantic().ids)

    def test_a_plain_one_is_saved_as_before(self, tmp_path):
        tiny_segformer().save(tmp_path)
        assert "regroup" not in json.loads((tmp_path / "config.json").read_text())
        assert load(tmp_path, "cpu").table is None

    def test_the_format_of_transformers_has_no_place_for_it(self, tmp_path):
        few = tiny_segformer().regroup({"way": ["road"]})
        with pytest.raises(TriptychError, match="no place for regrouped classes"):
            few.save(tmp_path / "few", format="transformers")
        assert not (tmp_path / "few").exists()

    @pytest.mark.parametrize(
        ("entry", "words"),
        [
            ([{"name": "way", "of": ["street"]}], "config.json: regroup: .* no class 'street'"),
            ([], "config.json: regroup: the table is empty"),
            ({}, "config.json: entry 'regroup' is not a list"),
        ],
    )
    def test_a_damaged_table_is_named(self, tmp_path, entry, words):
        tiny_segformer().save(tmp_path)
        config = tmp_path / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"regroup": entry}))
        with pytest.raises(TriptychError, match=words):
            load(tmp_path, "cpu")

    @pytest.mark.parametrize(
        ("table", "words"),
        [
            ({}, "the table is empty"),
            ({"a": ["red", "blue"]}, "'a' mixes things \\(red\\) and stuff \\(blue\\)"),
            ({"a": ["red"], "b": ["red"]}, "'red' is taken twice"),
            ({"a": ["rad"]}, "no class 'rad' \\(did you mean 'red'\\?\\)"),
        ],
    )
    def test_mistakes(self, table, words):
        with pytest.raises(TriptychError, match=words):
            colour_segmenter().regroup(table)
