import subprocess
import sys
from pathlib import Path

from shared.data.dataset import load_dataset
from shared.sections import DataConfig


def test_the_generator_writes_the_shipped_file(checkout: Path, tmp_path: Path) -> None:
    generator = checkout / "examples" / "make_reviews.py"
    subprocess.run([sys.executable, generator, tmp_path / "reviews.csv"], check=True)
    shipped = (checkout / "examples" / "reviews.csv").read_bytes()
    assert (tmp_path / "reviews.csv").read_bytes() == shipped


def test_the_reviews_have_five_tags_common_and_rare(checkout: Path) -> None:
    dataset = load_dataset(DataConfig(csv=checkout / "examples" / "reviews.csv"))
    assert dataset.label_names == ("praise", "delivery", "defect", "price", "support")
    assert len(set(dataset.texts)) == len(dataset.texts) == 3000
    shares = dict(zip(dataset.label_names, dataset.labels.mean(axis=0), strict=True))
    assert shares["defect"] > 0.3
    assert 0.03 < shares["support"] < 0.07
