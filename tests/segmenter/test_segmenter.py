from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.tiny_model import COLOURS, ColourModel, colour_segmenter, tiny_segformer

import triptych.segmenter.loading
from triptych.errors import TriptychError
from triptych.image.preprocess import Preprocess
from triptych.readings.settings import ReadingSettings
from triptych.segmenter import Segmenter, load


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=generator)


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
