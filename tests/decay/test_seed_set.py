"""The seed set: exact counts, what is short, the same draw in any order, nothing from outside, whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from decay.cli import app
from decay.errors import DecayError, LineageError, ModelError, OutputError
from decay.images import read_image, write_png
from decay.lineage import read_folder
from decay.seed_set import SeedSetSettings, age_band, make_seed_set, parse_words, seed_set_text

GENDERS, AGES = ("man", "woman"), ("young", "old")
PROMPT = "a photo of a {age} {gender}"
COLUMNS = ("gender", "age")
Rows = list[dict[str, str]]


def write_pictures(folder: Path, n_per_group: int) -> Rows:
    """Pictures of 2 x 2 groups, all different, and the rows of a table that says which is which."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(4 * n_per_group):
        name = f"sub/{index:03d}.png"
        (folder / "sub").mkdir(parents=True, exist_ok=True)
        write_png(folder / name, rng.integers(0, 256, (20, 24, 3), dtype=np.uint8))
        rows.append({"file_name": name, "gender": GENDERS[index % 2], "age": AGES[index // 2 % 2]})
    return rows


def write_table(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["file_name", "gender", "age"])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def source(tmp_path: Path) -> tuple[Path, Rows]:
    return tmp_path / "source", write_pictures(tmp_path / "source", 5)


def settings(folder: Path, table: Path | None, **changes: object) -> SeedSetSettings:
    asked = {"per_group": 3, "groups": table, "columns": COLUMNS, "prompt": PROMPT, **changes}
    return SeedSetSettings(folder, **asked)  # type: ignore[arg-type]


def metadata(out: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (out / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]


# --------------------------------------------------------------------------- what is chosen


def test_as_many_of_each_group_with_their_prompts_and_bytes(source: tuple[Path, Rows], tmp_path: Path) -> None:
    folder, rows = source
    told: list[tuple[int, int, int]] = []
    made = make_seed_set(
        settings(folder, write_table(tmp_path / "t.csv", rows)), tmp_path / "real", lambda *at: told.append(at)
    )
    assert (made.n_chosen, made.n_wanted, made.short, made.notes) == (12, 12, {}, ())
    said = metadata(tmp_path / "real")
    assert Counter(row["group"] for row in said) == {f"{g} {a}": 3 for g in GENDERS for a in AGES}
    truth = {row["file_name"]: row for row in rows}
    for row in said:
        was = truth[row["original"]]
        assert row["text"] == f"a photo of a {was['age']} {was['gender']}"
        data = (tmp_path / "real" / row["file_name"]).read_bytes()
        assert data == (folder / row["original"]).read_bytes()
        assert row["original_sha256"] == hashlib.sha256(data).hexdigest()
        assert row["machine_made"] == ""
    assert told[-1] == (1, 12, 12)


def test_the_loop_reads_it(source: tuple[Path, Rows], tmp_path: Path) -> None:
    folder, rows = source
    make_seed_set(settings(folder, write_table(tmp_path / "t.csv", rows)), tmp_path / "real")
    read, notes = read_folder(tmp_path / "real")
    assert notes == []
    assert [record.prompt for record in read.images] == [row["text"] for row in metadata(tmp_path / "real")]
    assert read.images[0].expects == {"face"}
    assert dict(read.images[0].columns).keys() >= {"gender", "age", "original_sha256"}


def test_a_short_group_gives_what_it_has_and_says_so(source: tuple[Path, Rows], tmp_path: Path) -> None:
    folder, rows = source
    few = [row for row in rows if (row["gender"], row["age"]) != ("woman", "old")]
    few += [row for row in rows if (row["gender"], row["age"]) == ("woman", "old")][:1]
    made = make_seed_set(settings(folder, write_table(tmp_path / "t.csv", few)), tmp_path / "real")
    assert made.short == {"woman old": 1}
    assert (made.n_chosen, made.n_wanted) == (10, 12)
    assert "Chosen: 10 of 12 pictures in 4 groups.\nShort: woman old, 1 of 3" in seed_set_text(made)
    report = json.loads((tmp_path / "real" / "seed_set.json").read_text())
    assert report["groups"]["woman old"] == {"chosen": 1, "candidates": 1}


def test_a_group_without_any_picture_is_short_too(source: tuple[Path, Rows], tmp_path: Path) -> None:
    folder, rows = source
    none = [row for row in rows if (row["gender"], row["age"]) != ("woman", "old")]
    made = make_seed_set(settings(folder, write_table(tmp_path / "t.csv", none)), tmp_path / "real")
    assert made.short == {"woman old": 0}


def sources(out: Path) -> list[str]:
    return [row["original"] for row in metadata(out)]


def test_the_draw_hangs_on_the_seed_and_not_on_the_order_of_rows(source: tuple[Path, Rows], tmp_path: Path) -> None:
    folder, rows = source
    shuffled = random.Random(1).sample(rows, len(rows))
    for name, table, seed in (("a", rows, 0), ("b", shuffled, 0), ("c", rows, 1)):
        make_seed_set(settings(folder, write_table(tmp_path / f"{name}.csv", table), seed=seed), tmp_path / name)
    assert (tmp_path / "a/metadata.jsonl").read_bytes() == (tmp_path / "b/metadata.jsonl").read_bytes()
    assert sources(tmp_path / "a") != sources(tmp_path / "c")


def test_one_more_picture_displaces_at_most_one(source: tuple[Path, Rows], tmp_path: Path) -> None:
    folder, rows = source
    for left_out in range(0, len(rows), 4):
        fewer = rows[:left_out] + rows[left_out + 1 :]
        for name, table in (("all", rows), ("fewer", fewer)):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
            make_seed_set(settings(folder, write_table(tmp_path / f"{name}.csv", table)), tmp_path / name)
        assert len(set(sources(tmp_path / "all")) - set(sources(tmp_path / "fewer"))) <= 1


def test_every_picture_of_a_group_has_its_chance(source: tuple[Path, Rows], tmp_path: Path) -> None:
    folder, rows = source
    table = write_table(tmp_path / "t.csv", rows[::4])  # one group of five
    drawn: Counter[str] = Counter()
    for seed in range(60):
        make_seed_set(settings(folder, table, per_group=1, seed=seed), tmp_path / str(seed))
        drawn.update(sources(tmp_path / str(seed)))
    assert len(drawn) == 5
    assert max(drawn.values()) <= 24  # 12 expected; P(any > 24) < 1e-3


# --------------------------------------------------------------------------- where the columns come from


def test_columns_in_names_with_words_and_bands(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "s").mkdir()
    for age, sex in ((18, 0), (34, 1), (35, 0), (54, 1), (55, 0), (101, 1)):
        write_png(tmp_path / "s" / f"{age}_{sex}_2_2017.chip.png", rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    write_png(tmp_path / "s" / "odd.png", np.zeros((16, 16, 3), np.uint8))
    made = make_seed_set(
        settings(
            tmp_path / "s",
            None,
            name_template="{age}_{gender}_{race}_*",
            words=dict([parse_words("gender:0=man, 1=woman")]),
            per_group=1,
        ),
        tmp_path / "real",
    )
    assert {row["text"].removeprefix("a photo of a ") for row in metadata(tmp_path / "real")} == {
        f"{age} {gender}" for age, gender in zip(("young", "middle-aged", "old") * 2, ("man", "woman") * 3, strict=True)
    }
    assert any("below 35 young, 35 to 54 middle-aged, else old" in note for note in made.notes)
    assert "Without a value in every column, left out: 1 (odd.png)." in made.notes


def test_a_table_comes_before_the_name_and_the_folders_own_metadata(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    write_png(tmp_path / "s" / "old_man.png", np.zeros((16, 16, 3), np.uint8))
    asked = {"name_template": "{age}_{gender}.png", "per_group": 1}
    make_seed_set(settings(tmp_path / "s", None, **asked), tmp_path / "a")
    write_table(tmp_path / "s" / "metadata.csv", [{"file_name": "old_man.png", "gender": "woman", "age": ""}])
    make_seed_set(settings(tmp_path / "s", None, **asked), tmp_path / "b")
    table = write_table(tmp_path / "t.csv", [{"file_name": "old_man.png", "gender": "person", "age": "young"}])
    make_seed_set(settings(tmp_path / "s", table, **asked), tmp_path / "c")
    assert [metadata(tmp_path / name)[0]["group"] for name in "abc"] == ["man old", "woman old", "person young"]


def test_age_bands() -> None:
    assert [age_band(age) for age in (0, 34, 34.9, 35, 54, 55, 99)] == [
        "young", "young", "young", "middle-aged", "middle-aged", "old", "old",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt": "a {species}"}, "wants species"),
        ({"prompt": "a {age.__class__}"}, "plain name"),
        ({"prompt": "a {age!r}"}, "plain name"),
        ({"prompt": "a {"}, "no template"),
        ({"columns": ("gender", "gender")}, "columns that differ"),
        ({"columns": ()}, "columns that differ"),
        ({"columns": ("text", "age")}, "meaning of their own"),
        ({"name_template": "*"}, "needs columns"),
        ({"guess": ("height",)}, "cannot be|can be guessed"),
        ({"guess": ("age",)}, "buffalo_l"),
        (
            {"columns": ("gender", "age", "hair"), "prompt": "{hair}"},
            r"with gender, age, hair; none of 20 .*age.*gender",
        ),
    ],
)
def test_what_does_not_go_together_is_said(
    source: tuple[Path, Rows], tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    folder, rows = source
    with pytest.raises(DecayError, match=said):
        make_seed_set(settings(folder, write_table(tmp_path / "t.csv", rows), **changes), tmp_path / "real")
    assert not (tmp_path / "real").exists()


def test_words_that_are_none_are_refused() -> None:
    for text in ("gender", "gender:0", ":0=man", "gender:=man", "gender:0=man,,"):
        with pytest.raises(DecayError, match="gender:0=man"):
            parse_words(text)


def test_groups_that_would_have_one_name_are_refused(tmp_path: Path) -> None:
    rows = write_pictures(tmp_path / "source", 2)
    odd = {"man": "a", "woman": "a b", "young": "b c", "old": "c"}
    said = [{"file_name": row["file_name"], "gender": odd[row["gender"]], "age": odd[row["age"]]} for row in rows]
    with pytest.raises(DecayError, match=r"'a', 'b c' and 'a b', 'c' would both be 'a b c'"):
        make_seed_set(settings(tmp_path / "source", write_table(tmp_path / "t.csv", said)), tmp_path / "real")


@pytest.mark.parametrize("size_px", [0, 8193, 99_999_999])
def test_a_size_that_no_run_has_is_refused(tmp_path: Path, size_px: int) -> None:
    with pytest.raises(ValueError, match=f"size_px must be 1 to 8192, got {size_px}"):
        settings(tmp_path, None, size_px=size_px)


def test_columns_of_numbers_make_too_many_groups(source: tuple[Path, Rows], tmp_path: Path) -> None:
    folder, rows = source
    lines = [{"file_name": row["file_name"], **dict.fromkeys("abcd", i)} for i, row in enumerate(rows)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DecayError, match="160,000 groups"):
        make_seed_set(settings(folder, tmp_path / "t.jsonl", columns=tuple("abcd"), prompt=""), tmp_path / "real")


# --------------------------------------------------------------------------- what is wrong with the input


def test_duplicates_and_bad_files_are_left_out_and_said(source: tuple[Path, Rows], tmp_path: Path) -> None:
    folder, rows = source
    first = rows[0]["file_name"]
    shutil.copy(folder / first, folder / "copy.png")
    (folder / "bad.png").write_bytes((folder / first).read_bytes()[:200])
    (folder / "text.png").write_text("hello")
    extra = [{**rows[0], "file_name": name} for name in ("copy.png", "bad.png", "text.png", "gone.png", "gone too.png")]
    table = write_table(tmp_path / "t.csv", [*rows, *extra, rows[0]])
    made = make_seed_set(settings(folder, table, per_group=9), tmp_path / "real")
    assert set(made.chosen.values()) == {5}
    said = "\n".join(made.notes)
    assert "Rows of t.csv whose file is missing: 2 (gone.png, gone too.png)." in said
    assert "Rows of t.csv that name a file again (the first counts): 1." in said
    assert "Not readable, left out: 2" in said
    assert "The same file as one already chosen, left out: 1" in said
    assert len({row["original_sha256"] for row in metadata(tmp_path / "real")}) == 20


def test_a_double_in_another_group_is_left_out_too(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    for name in ("man", "woman"):
        write_png(tmp_path / "s" / f"{name}.png", np.zeros((16, 16, 3), np.uint8))
    made = make_seed_set(
        settings(tmp_path / "s", None, name_template="{gender}.*", columns=("gender",), prompt="{gender}"),
        tmp_path / "real",
    )
    assert made.chosen == {"man": 1, "woman": 0}


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "sub/../../secret.png", "..\\secret.png", "C:\\x.png"]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(source: tuple[Path, Rows], tmp_path: Path, name: str) -> None:
    folder, rows = source
    shutil.copy(folder / rows[0]["file_name"], tmp_path / "secret.png")
    table = write_table(tmp_path / "t.csv", [*rows, {**rows[0], "file_name": name}])
    with pytest.raises(LineageError, match=r"t\.csv, line 22: .*leads out"):
        make_seed_set(settings(folder, table), tmp_path / "real")
    assert not (tmp_path / "real").exists()


def test_a_link_that_leads_out_of_the_folder_is_not_read(source: tuple[Path, Rows], tmp_path: Path) -> None:
    folder, rows = source
    write_png(tmp_path / "secret.png", np.full((16, 16, 3), 7, np.uint8))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    table = write_table(tmp_path / "t.csv", [*rows, {**rows[0], "file_name": "link.png"}])
    made = make_seed_set(settings(folder, table, per_group=9), tmp_path / "real")
    assert "link.png" not in sources(tmp_path / "real")
    assert any("link.png" in note for note in made.notes)


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    names = ['=cmd|"calc"!A1.png', "-rf\x1b[31m.png", "a\nb.png", "ünï.png", os.fsdecode(b"\xff.png")]
    (tmp_path / "s").mkdir()
    rng = np.random.default_rng(0)
    for name in names:
        write_png(tmp_path / "s" / name, rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    value = "=1+1\n\tman\u2028{age}"
    rows = [{"file_name": name, "gender": value, "age": "old"} for name in names[:4]]
    made = make_seed_set(
        settings(tmp_path / "s", write_table(tmp_path / "t.csv", rows), per_group=9), tmp_path / "real"
    )
    assert made.chosen == {"=1+1 man {age} old": 4}  # one line, and no template of its own
    assert sorted(path.name for path in (tmp_path / "real").iterdir() if path.suffix == ".png") == [
        f"{index:04d}.png" for index in range(4)
    ]
    assert metadata(tmp_path / "real")[0]["text"] == "a photo of a old =1+1 man {age}"
    asked = ["seed-set", str(tmp_path / "s"), "--columns-from-name", "{gender}.*", "--columns", "gender"]
    told = CliRunner().invoke(app, [*asked, "--prompt", "{gender}", "--out", str(tmp_path / "told")])
    assert told.exit_code == 0, told.stderr
    assert "\x1b" not in told.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name,gender\nx.png,man\n", "expected a column file_name"),
        ("file_name,gender\nx.png,man,old\n", "line 2: expected as many cells"),
        ("file_name,gender\n,man\n", "expected a file_name"),
        ("", "expected a column file_name"),
    ],
)
def test_a_table_that_is_none_is_named(source: tuple[Path, Rows], tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(LineageError, match=said):
        make_seed_set(settings(source[0], tmp_path / "t.csv"), tmp_path / "real")


def test_json_lines_may_hold_what_is_no_text(source: tuple[Path, Rows], tmp_path: Path) -> None:
    folder, rows = source
    lines = [json.dumps({**row, "smiles": True, "box": [1, 2], "age": 20 + 40 * (row["age"] == "old")}) for row in rows]
    (tmp_path / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    make_seed_set(settings(folder, tmp_path / "t.jsonl"), tmp_path / "real")
    assert {row["age"] for row in metadata(tmp_path / "real")} == {"young", "old"}


# --------------------------------------------------------------------------- what is written


def test_size_crops_the_middle_and_says_what_was_enlarged(source: tuple[Path, Rows], tmp_path: Path) -> None:
    folder, rows = source
    table = write_table(tmp_path / "t.csv", rows)
    same = make_seed_set(settings(folder, table, size_px=20), tmp_path / "same")
    row = metadata(tmp_path / "same")[0]
    middle = read_image(folder / row["original"])[:, 2:22]
    assert np.array_equal(read_image(tmp_path / "same" / row["file_name"]), middle)
    assert same.notes == ()
    large = make_seed_set(settings(folder, table, size_px=32), tmp_path / "large")
    assert read_image(tmp_path / "large" / "0000.png").shape == (32, 32, 3)
    assert any(note.startswith("Smaller than 32 px, enlarged: 12") for note in large.notes)


def test_a_folder_that_holds_something_is_left_alone(source: tuple[Path, Rows], tmp_path: Path) -> None:
    folder, rows = source
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="already holds something"):
        make_seed_set(settings(folder, write_table(tmp_path / "t.csv", rows)), tmp_path / "real")
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["mine.txt"]


def test_a_set_inside_its_own_source_does_not_feed_on_itself(source: tuple[Path, Rows], tmp_path: Path) -> None:
    folder, rows = source
    make_seed_set(settings(folder, write_table(tmp_path / "t.csv", rows)), folder / "real")
    assert len(metadata(folder / "real")) == 12


def test_when_the_disk_refuses_nothing_is_left(source: tuple[Path, Rows], tmp_path: Path) -> None:
    import resource

    folder, rows = source
    table = write_table(tmp_path / "t.csv", rows)
    write_png(folder / "sub" / "000.png", np.random.default_rng(1).integers(0, 256, (300, 300, 3), dtype=np.uint8))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OutputError, match="larger than this system allows"):
            make_seed_set(settings(folder, table, per_group=9), tmp_path / "out" / "real")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "out").iterdir()) == []
    make_seed_set(settings(folder, table, per_group=9), tmp_path / "out" / "real")


def test_a_stop_half_way_leaves_nothing(source: tuple[Path, Rows], tmp_path: Path) -> None:
    folder, rows = source

    def stop(step: int, done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_seed_set(settings(folder, write_table(tmp_path / "t.csv", rows)), tmp_path / "out" / "real", stop)
    assert list((tmp_path / "out").iterdir()) == []


# --------------------------------------------------------------------------- the command


def test_the_command(source: tuple[Path, Rows], tmp_path: Path) -> None:
    folder, rows = source
    table = write_table(tmp_path / "t.csv", rows[:-1])
    asked = ["seed-set", str(folder), "--groups", str(table), "--per-group", "5", "--out", str(tmp_path / "real")]
    asked += ["--columns", "gender, age", "--prompt", PROMPT, "--size", "16"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.stderr
    assert "Chosen: 19 of 20 pictures in 4 groups.\nShort: woman old, 4 of 5\n" in result.stdout
    again = CliRunner().invoke(app, asked)
    assert again.exit_code == 1
    assert len(again.stderr.strip().splitlines()) == 1
    assert CliRunner().invoke(app, [*asked, "--per-group", "0"]).exit_code == 2


# --------------------------------------------------------------------------- guesses


def guessing_pack(root: Path, small: Path) -> str:
    """A pack with a real face detector and a model that takes bright pictures for women and the rest for men, all 42.

    Its outputs are (woman, man, age / 100), as those of insightface's genderage.
    """
    folder = root / "models" / "tiny"
    folder.mkdir(parents=True)
    shutil.copy(small / "det_500m.onnx", folder)
    weights = np.array([[4.0, 0, 0], [0, 0, 0], [0, 0, 0]], np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["fc1"]),
    ]
    graph = helper.make_graph(
        nodes,
        "genderage",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 96, 96])],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 3])],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [3, 3], weights.ravel()),
            helper.make_tensor("b", TensorProto.FLOAT, [3], [0.0, 0.0, 0.42]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "genderage.onnx")
    return "tiny"


@pytest.mark.validation
def test_a_pack_without_a_model_of_age_and_sex_is_refused(validation_data: Path, tmp_path: Path) -> None:
    asked = settings(
        validation_data / "faces" / "celebahq_1024",
        None,
        guess=("age", "sex"),
        pack="small",
        root=validation_data / "models" / "insightface",
    )
    with pytest.raises(ModelError, match=r"model of age and sex .*found det_500m\.onnx, mobilefacenet"):
        make_seed_set(asked, tmp_path / "real")
    assert not (tmp_path / "real").exists()


def test_a_pack_that_is_not_there_is_refused(source: tuple[Path, Rows], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"pack 'none'; found none"):
        make_seed_set(settings(source[0], None, guess=("age",), pack="none", root=tmp_path), tmp_path / "real")


@pytest.mark.validation
def test_guesses_fill_what_nothing_says_and_are_marked(validation_data: Path, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    portraits = sorted((validation_data / "faces" / "generated_512").rglob("*.*g"))[:3]
    for name, portrait, gain in zip(("dark", "light", "known"), portraits, (0.35, 1.0, 1.0), strict=True):
        pixels = read_image(portrait) * gain if gain < 1 else np.minimum(read_image(portrait) * 1.0 + 90, 255)
        write_png(tmp_path / "s" / f"{name}.png", pixels.astype(np.uint8))
    write_png(tmp_path / "s" / "nobody.png", np.full((256, 256, 3), 90, np.uint8))
    write_table(tmp_path / "s" / "metadata.csv", [{"file_name": "known.png", "gender": "man", "age": "70"}])
    pack = guessing_pack(tmp_path / "packs", validation_data / "models" / "insightface" / "models" / "small")
    made = make_seed_set(
        settings(tmp_path / "s", None, guess=("age", "sex"), pack=pack, root=tmp_path / "packs"), tmp_path / "real"
    )
    said = {row["original"]: (row["gender"], row["age"], row["machine_made"]) for row in metadata(tmp_path / "real")}
    assert said == {
        "dark.png": ("man", "middle-aged", "age, gender"),
        "light.png": ("woman", "middle-aged", "age, gender"),
        "known.png": ("man", "old", ""),
    }
    assert made.machine_made == ("gender", "age")
    assert any(note.startswith("Guessed by a model") for note in made.notes)
    assert "Without a value in every column, left out: 1 (nobody.png)." in made.notes
