import subprocess
import sys
from pathlib import Path

from orchestrator.data.dataset import load_dataset
from shared.config.sections import DataConfig


def test_the_generator_writes_the_shipped_files(checkout: Path, tmp_path: Path) -> None:
    shipped = checkout / "examples"
    subprocess.run([sys.executable, shipped / "make_reviews.py", tmp_path], check=True)
    for name in ("reviews.csv", "new_reviews.csv"):
        assert (tmp_path / name).read_bytes() == (shipped / name).read_bytes()


def test_new_reviews_are_new(checkout: Path) -> None:
    old, new = (
        load_dataset(DataConfig(csv=checkout / "examples" / name))
        for name in ("reviews.csv", "new_reviews.csv")
    )
    assert old.label_names == new.label_names
    assert not set(new.texts) & set(old.texts)


def test_the_reviews_have_five_tags_common_and_rare(checkout: Path) -> None:
    dataset = load_dataset(DataConfig(csv=checkout / "examples" / "reviews.csv"))
    assert dataset.label_names == ("praise", "delivery", "defect", "price", "support")
    assert len(set(dataset.texts)) == len(dataset.texts) == 3000
    shares = dict(zip(dataset.label_names, dataset.labels.mean(axis=0), strict=True))
    assert shares["defect"] > 0.3
    assert 0.03 < shares["support"] < 0.07
