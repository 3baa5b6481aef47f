"""Distributions of recipes: what is read, what is refused, how many networks of each family are drawn."""

from collections import Counter

import pytest

from bench import BenchError
from bench.core.kinds import ComponentKind
from bench.registry.discovery import load_registry
from bench.verification.recipes import Family, drawn, read_recipes

GOOD = '[[family]]\nname = "plain"\narchitecture = "tiny_vgg"\n'


def read(tmp_path, text):
    file = tmp_path / "recipes.toml"
    file.write_text(text)
    return read_recipes(file)


def test_the_default_distribution_has_at_least_twelve_families_of_four_architectures():
    families = read_recipes()
    assert len(families) >= 12
    assert len({f.architecture for f in families}) == 4
    for field in ("settings", "epochs", "learning_rate", "batch", "augmentation", "share", "precision"):
        assert len({str(getattr(f, field)) for f in families}) > 1, f"no family differs in {field}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('name = "plain"\narchitecture = "tiny_vgg"', "family 'plain': name: two families have this name"),
        ('name = "Plain"\narchitecture = "tiny_vgg"', "family 'Plain': name: two families have this name"),
        ('name = "a b"\narchitecture = "tiny_vgg"', "family 'a b': name: it must be letters"),
        ('name = "x"', "family 'x': architecture: it is missing"),
        ('architecture = "tiny_vgg"', "family 2 of the file: name: it is missing"),
        ('name = "x"\narchitecture = "tiny_vgg"\nepoch = 3', "family 'x': epoch: there is no such field. Did you mean"),
        (
            'name = "x"\narchitecture = "tiny_vgg"\naugmentation = { rotate = 3 }',
            "family 'x': rotate: there is no such field",
        ),
        *(
            (f'name = "x"\narchitecture = "tiny_vgg"\n{field} = {value}', f"family 'x': {field}: it must be ")
            for field, value in [
                ("epochs", "0"),
                ("epochs", "nan"),
                ("epochs", "inf"),
                ("epochs", '"3"'),
                ("learning_rate", "-0.1"),
                ("batch", "2.5"),
                ("batch", "0"),
                ("share", "1.5"),
                ("share", "0"),
                ("precision", '"fp8"'),
                ("weight", "-1"),
                ("settings", "3"),
                ("augmentation", '"none"'),
                ("augmentation", "{ crop = -1 }"),
            ]
        ),
    ],
)
def test_a_wrong_family_is_named_with_the_field(tmp_path, line, message):
    with pytest.raises(BenchError) as caught:
        read(tmp_path, f"{GOOD}\n[[family]]\n{line}\n")
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "describes no recipe"),
        ("family = 3", "describes no recipe"),
        ("family = [3]", "describes no recipe"),
        (f"number = 3\n{GOOD}", "unknown entry 'number'"),
        ("[[family", "is no TOML"),
        ('[[family]]\nname = "a"\narchitecture = "b"\nsettings = { width = [nan] }', "family 'a': settings: .* finite"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(BenchError, match=message) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BenchError, match=r"absent\.toml cannot be read"):
        read_recipes(tmp_path / "absent.toml")


def test_networks_are_as_many_as_weights_ask_and_a_longer_list_goes_on():
    families = [Family(name=n, architecture="a", weight=w) for n, w in (("x", 1), ("y", 2), ("z", 1))]
    names = [f.name for f in drawn(families, 40)]
    assert Counter(names) == {"x": 10, "y": 20, "z": 10}
    assert [f.name for f in drawn(families, 17)] == names[:17]
    for n in range(1, 40):
        counts = Counter(names[:n])
        assert all(abs(counts[f.name] - n * f.weight / 4) < 1 for f in families)


def test_equal_weights_take_turns():
    families = [Family(name=n, architecture="a") for n in "abc"]
    assert [f.name for f in drawn(families, 7)] == [*"abcabca"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"epochs": 11.0, "lr": 0.1, "batch": 64, "precision": "fp32"}),
        ({"epochs": 3, "learning_rate": 0.5, "batch": 8, "precision": "bf16"}, {"epochs": 3.0, "lr": 0.5, "batch": 8}),
        ({"precision": "bf16"}, {"precision": "bf16"}),
        ({"augmentation": False}, {"augmentation": {"crop": 0, "flip": False}}),
        ({"augmentation": {"crop": 3}}, {"augmentation": {"crop": 3}}),
    ],
)
def test_the_recipe_is_the_familys_and_the_presets_elsewhere(fields, expected):
    import msgspec

    family = msgspec.convert({"name": "f", "architecture": "tiny_vgg", **fields}, Family)
    declaration = load_registry().declaration(ComponentKind.ARCHITECTURE, "tiny_vgg")
    found = family.training(declaration, "fp32")
    assert {name: found[name] for name in expected} == expected
    assert ("augmentation" in found) == ("augmentation" in fields)


def test_a_family_goes_before_what_an_architecture_declares():
    declaration = load_registry().declaration(ComponentKind.ARCHITECTURE, "tiny_mobilenet")
    assert declaration.attributes["precision"] == "fp32"
    assert Family(name="f", architecture="tiny_mobilenet").training(declaration, "bf16")["precision"] == "fp32"
    own = Family(name="f", architecture="tiny_mobilenet", precision="bf16")
    assert own.training(declaration, "fp32")["precision"] == "bf16"
