from __future__ import annotations

import dataclasses

import pytest

from triptych.errors import TriptychError
from triptych.train.recipe import Recipe, differences, read_recipe

BOMB = ", ".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))
"""Each list holds nine of the one before: four hundred million values in a line."""
MINIMAL = "model:\n  family: mask2former\noptimisation:\n  steps: 100\n"


@pytest.fixture
def write(tmp_path):
    def write(text: str):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return path

    return write


def test_minimal_recipe_takes_the_defaults(write):
    recipe = read_recipe(write(MINIMAL))
    assert recipe.model.family == "mask2former"
    assert recipe.optimisation.steps == 100
    assert recipe.optimisation.schedule == "poly"
    assert recipe.checkpoint.keep == 2
    assert recipe.time_limit is None


def test_recipe_survives_writing_and_reading(write):
    text = MINIMAL + (
        "input: {mean: [0.5, 0.5, 0.5], size: [360, 480]}\n"
        "data: {arguments: {root: ../data, scale: [0.5, 2]}}\n"
        "criterion: {matcher: {own_query: [0, 1]}, points: 4096}\n"
    )
    recipe = read_recipe(write(text))
    assert recipe.input.size == (360, 480)
    assert read_recipe(write(recipe.to_yaml())) == recipe


def test_empty_sections_and_dates_are_no_trouble(write):
    recipe = read_recipe(write(MINIMAL + "data:\ncriterion:\nnotes: {day: 2024-05-06}\n"))
    assert recipe.data.dataset == "street"
    assert recipe.criterion == {}
    assert recipe.to_plain()["notes"] == {"day": "2024-05-06"}


def test_numbers_with_an_exponent_are_numbers(write):
    recipe = read_recipe(write(MINIMAL + "  learning_rate: 3e-4\n  weight_decay: 1E-2\n"))
    assert recipe.optimisation.learning_rate == 3e-4
    assert recipe.optimisation.weight_decay == 0.01


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            MINIMAL + "  learning_rat: 0.1\n",
            r"recipe.yaml, line 5: unknown key 'learning_rat' in section 'optimisation' "
            r"\(did you mean 'learning_rate'\?\); allowed: steps, batch_size",
        ),
        (MINIMAL + "optimization: {}\n", r"line 5: unknown key 'optimization' in the recipe \(did"),
        (MINIMAL + "  batch_size: 2.5\n", r"line 5: optimisation.batch_size must be a whole"),
        (MINIMAL + "  batch_size: true\n", r"must be a whole number, not True"),
        (MINIMAL + "  batch_size: '8'\n", r"must be a whole number, not '8'"),
        (MINIMAL + "  learning_rate: fast\n", r"learning_rate must be a number, not 'fast'"),
        (MINIMAL + "  schedule: cosin\n", r"one of poly, cosine, constant.*mean 'cosine'"),
        (MINIMAL + "  betas: [0.9]\n", r"betas must be \[a number, a number\], not \[0.9\]"),
        (MINIMAL + "  gradient_clip: x\n", r"gradient_clip must be a number or null, not 'x'"),
        (MINIMAL + "  steps: 3\n", r"line 5: the key optimisation.steps stands twice .*line 4"),
        (MINIMAL + "data: 7\n", r"line 5: data is a section with keys of its own"),
        (MINIMAL + "model: [\n", r"recipe.yaml, line \d: not valid YAML"),
        (MINIMAL + "  batch_size: 0\n", r"line 5: optimisation.batch_size must be at least 1"),
        (MINIMAL + "  warmup_steps: 100\n", r"line 5: optimisation.warmup_steps must be fewer"),
        (MINIMAL + "  accumulate: 3\n", r"accumulate must divide batch_size, but 8 images"),
        (MINIMAL + "  ema_decay: 1\n", r"ema_decay must be from 0 to below 1, not 1.0"),
        (MINIMAL + "  learning_rate: .nan\n", r"learning_rate must be positive, not nan"),
        (MINIMAL + "checkpoint: {keep: 0}\n", r"line 5: checkpoint.keep must be at least 1"),
        (MINIMAL + "evaluation: {overlap: 5}\n", r"overlap must be a share from 0 to 1, not 5"),
        (MINIMAL + "time_limit: 0\n", r"line 5: time_limit must be positive or null"),
        (MINIMAL + "input: {std: [58, 57, 57]}\n", r"line 5: preprocess: std is .* scale 0..1"),
        ("model: {family: x}\n", r"recipe.yaml: the recipe needs the key 'optimisation'"),
        (
            "model: {}\noptimisation: {steps: 1}\n",
            r"line 1: section 'model' needs the key 'family'",
        ),
        (MINIMAL + "? [a]\n: b\n", r"line 5: a key must be plain text"),
        (MINIMAL + "notes: !!python/name:os.system\n", r"line 5: .* is no plain value"),
        (MINIMAL + "notes: {day: 2024-99-99}\n", r"line 5: '2024-99-99' is no plain value"),
        (MINIMAL + "notes: &a {b: *a}\n", r"nested without end"),
        (MINIMAL + f"notes: {'[' * 3000}{']' * 3000}\n", r"nested too deeply"),
        (MINIMAL + f"notes: {{a0: &a0 [1], {BOMB}}}\n", r"more than 1000000 values"),
        ("- a\n- b\n", r"a recipe is a mapping of keys"),
        ("", r"the recipe needs the key 'model'"),
    ],
)
def test_mistakes_are_named_with_their_place(write, text, message):
    with pytest.raises(TriptychError, match=message) as error:
        read_recipe(write(text))
    assert "\n" not in str(error.value)


def test_missing_unreadable_and_binary_files_are_told(tmp_path):
    with pytest.raises(TriptychError, match="no such recipe"):
        read_recipe(tmp_path / "none.yaml")
    with pytest.raises(TriptychError, match="cannot read recipe"):
        read_recipe(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TriptychError, match="not UTF-8"):
        read_recipe(tmp_path / "binary.yaml")


def test_overrides_replace_add_and_are_as_strict(write):
    path = write(MINIMAL)
    changes = ["optimisation.steps=7", "data.arguments.crop=[320, 416]", "time_limit=2.5"]
    recipe = read_recipe(path, changes)
    assert recipe.optimisation.steps == 7
    assert recipe.data.arguments == {"crop": [320, 416]}
    assert recipe.time_limit == 2.5
    with pytest.raises(TriptychError, match=r"--override: unknown key 'stepz'.*'steps'"):
        read_recipe(path, ["optimisation.stepz=7"])
    with pytest.raises(TriptychError, match=r"--override: optimisation.steps must be a whole"):
        read_recipe(path, ["optimisation.steps="])
    with pytest.raises(TriptychError, match=r"write key\.path=value"):
        read_recipe(path, ["optimisation.steps"])
    with pytest.raises(TriptychError, match=r"model\.family is a value, not a section"):
        read_recipe(path, ["model.family.name=x"])
    with pytest.raises(TriptychError, match="not valid YAML"):
        read_recipe(path, ["optimisation.betas=[0.9"])


def test_differences_leave_out_what_does_not_change_the_result(write):
    path = write(MINIMAL)
    old = read_recipe(path).to_yaml()
    harmless = ["data.workers=5", "time_limit=9", "logging.every=4", "evaluation.every=3"]
    assert differences(old, read_recipe(path, harmless)) == []
    changed = read_recipe(path, ["optimisation.seed=1", "model.arguments.dim=64", *harmless])
    assert differences(old, changed) == [
        "model.arguments",
        "model.arguments.dim",
        "optimisation.seed",
    ]


def test_recipe_of_an_earlier_version_is_compared_by_what_its_gaps_mean(write):
    path = write(MINIMAL)
    assert differences(MINIMAL, read_recipe(path)) == []
    assert differences(MINIMAL, read_recipe(path, ["optimisation.power=2"])) == [
        "optimisation.power"
    ]
    assert "optimisation.momentum" in differences(MINIMAL + "  momentum: 1\n", read_recipe(path))


def test_every_field_is_documented():
    """The help text is made of these docstrings."""
    import inspect

    from triptych.train import recipe as module

    kinds = [kind for kind in vars(module).values() if isinstance(kind, type)]
    ours: list = [kind for kind in kinds if kind.__module__ == module.__name__]
    assert len(ours) >= 7
    for kind in ours:
        source = inspect.getsource(kind)
        for field in dataclasses.fields(kind):
            after = source.split(f"    {field.name}: ")[1].split("\n", 1)[1].lstrip()
            assert after.startswith('"""'), f"{kind.__name__}.{field.name}"


def test_recipe_cannot_be_changed_after_validation(write):
    recipe: Recipe = read_recipe(write(MINIMAL))
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.optimisation.steps = 0  # type: ignore[misc]
