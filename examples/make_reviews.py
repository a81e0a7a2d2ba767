"""Write `reviews.csv` and `new_reviews.csv`: synthetic product reviews with five tags.

A review is one to four clauses. A clause is about a topic and speaks well, badly or only by the
way of it; the tags follow from topics *and* tone, so that no single word gives a tag away:

  praise    the product is spoken well of, and not badly
  delivery  the delivery is complained about
  defect    the product broke or came broken
  price     it is found too dear
  support   the writer dealt with the customer service (rare)

Some words have typos, and some tags are wrong, as in tags that people gave.
"""

import argparse
import csv
import random
from collections.abc import Collection, Mapping
from pathlib import Path

N_REVIEWS, N_NEW = 3000, 300
SEED = 20260901
"""What draws the reviews; the next one draws the new ones: both files are the same at every run."""
TYPO_SHARE = 0.15
"""Share of the reviews with one typo."""
MISSED_SHARE, FALSE_SHARE = 0.04, 0.006
"""Shares of present tags that are left out and of absent ones that are put in."""

TAGS = ("praise", "delivery", "defect", "price", "support")

ITEMS = (
    "kettle lamp backpack blender headset drill toaster jacket keyboard tent mixer speaker watch"
    " vacuum chair pan router mattress razor stroller camera heater bottle"
).split()
SLOTS = {
    "part": "lid handle zip cable button hinge strap battery switch screen motor seam".split(),
    "time": ["a week", "two days", "a month", "ten days", "half a year", "three weeks", "one use"],
    "who": ["my sister", "my dad", "our office", "the kids", "my flatmate", "a friend", "us"],
    "good": "great lovely brilliant solid excellent handy sturdy neat superb".split(),
    "bad": "awful poor useless flimsy dreadful hopeless shoddy".split(),
    "place": ["the kitchen", "travelling", "the garden", "work", "long trips", "the workshop"],
    "money": ["20", "35", "50", "80", "120", "15", "a hundred"],
}

CLAUSES = {
    ("product", "well"): [
        "{good} {item}, does just what I hoped for",
        "bought the {item} for {who} and it turned out {good}",
        "the {part} feels {good} even after {time}",
        "could not be happier with this {item}",
        "no idea how I managed {place} without it",
        "the {item} still works like on day one",
        "nothing broke, nothing wobbles, a {good} {item}",
        "{who} keeps borrowing my {item}, that says it all",
    ],
    ("product", "badly"): [
        "the {part} came off after {time}",
        "it stopped working within {time}",
        "arrived with a cracked {part}",
        "the {part} is {bad} and already loose",
        "{bad} {item}, the {part} gave up after {time}",
        "out of the box the {item} would not even switch on",
        "I was hoping for something {good}, but the {part} snapped",
        "worked like a dream for {time}, then the {part} died",
    ],
    ("product", "aside"): [
        "I needed a {item} for {place}",
        "this is my second {item}",
        "got the {item} as a present from {who}",
        "if the {part} ever breaks I will say so here",
        "have not tried the {part} yet",
        "it is a {item}, what can I say",
    ],
    ("delivery", "well"): [
        "it came a day early and well packed",
        "shipping was not the problem at all",
        "the courier was {good}",
        "delivered within two days as promised",
    ],
    ("delivery", "badly"): [
        "it took {time} longer to arrive than promised",
        "the parcel was left in the rain",
        "still waiting for half of the order",
        "the courier threw the box over the fence",
        "tracking said delivered, nothing was there for {time}",
        "the wrong {item} was sent first",
        "the box looked as if someone had sat on it",
    ],
    ("delivery", "aside"): ["ordered it for delivery to {who}", "it comes in a large parcel"],
    ("price", "well"): [
        "for {money} euros it is a bargain",
        "worth every cent",
        "I expected to pay far more than {money}",
        "not expensive at all for what it is",
    ],
    ("price", "badly"): [
        "{money} euros is far too much for this",
        "you mostly pay for the name",
        "half the price would have been fair",
        "saw it elsewhere for much less",
        "it was not worth {money}",
        "the price went up by {money} right before I ordered",
    ],
    ("price", "aside"): ["paid {money} for it", "it was on my list until payday"],
    ("support", "well"): [
        "the help line sorted it out within {time}",
        "wrote to them and got a kind answer and a new {part}",
    ],
    ("support", "badly"): [
        "nobody answers my mails about it",
        "the chat agent just sent me round in circles for {time}",
        "they refused the refund without a reason",
    ],
    ("support", "aside"): ["did not have to call anybody so far", "have not needed the help line"],
}

TOPIC_WEIGHTS = {"product": 52, "delivery": 22, "price": 20, "support": 3}
TONE_WEIGHTS = {"well": 38, "badly": 40, "aside": 22}
JOINTS = (". ", ", ", " and ", " but ", "; ", " - ", "!\n")


def make_review(rng: random.Random) -> tuple[str, tuple[int, ...]]:
    """Return one text and its five tags."""
    n_clauses = rng.choices((1, 2, 3, 4), (25, 45, 25, 5))[0]
    kinds = [(draw(rng, TOPIC_WEIGHTS), draw(rng, TONE_WEIGHTS)) for _ in range(n_clauses)]
    item = rng.choice(ITEMS)
    text = fill(rng, item, kinds[0])
    for kind in kinds[1:]:
        text += rng.choice(JOINTS) + fill(rng, item, kind)
    text = text[0].upper() + text[1:] + rng.choice((".", "!", "", "..."))
    if rng.random() < TYPO_SHARE:
        text = with_typo(rng, text)
    return text, tuple(mistagged(rng, tag) for tag in tags_of(set(kinds)))


def tags_of(kinds: set[tuple[str, str]]) -> tuple[bool, ...]:
    """Return the true tags of a review with clauses of these topics and tones."""
    return (
        ("product", "well") in kinds and ("product", "badly") not in kinds,
        ("delivery", "badly") in kinds,
        ("product", "badly") in kinds,
        ("price", "badly") in kinds,
        bool({("support", "well"), ("support", "badly")} & kinds),
    )


def draw(rng: random.Random, weights: dict[str, int]) -> str:
    """Draw a key by its weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


def fill(rng: random.Random, item: str, kind: tuple[str, str]) -> str:
    """Write a clause about the item: a template of this topic and tone, words in its slots."""
    words = {slot: rng.choice(choices) for slot, choices in SLOTS.items()}
    return rng.choice(CLAUSES[kind]).format(item=item, **words)


def with_typo(rng: random.Random, text: str) -> str:
    """Swap two neighbouring letters."""
    i = rng.randrange(len(text) - 1)
    return text[:i] + text[i + 1] + text[i] + text[i + 2 :]


def mistagged(rng: random.Random, tag: bool) -> int:
    """Return the tag as a careless person gave it."""
    if rng.random() < (MISSED_SHARE if tag else FALSE_SHARE):
        return int(not tag)
    return int(tag)


def make_reviews(n: int, seed: int, known: Collection[str] = ()) -> dict[str, tuple[int, ...]]:
    """Return texts and their tags; no text comes twice, or is known."""
    rng = random.Random(seed)
    reviews: dict[str, tuple[int, ...]] = {}
    while len(reviews) < n:
        text, tags = make_review(rng)
        if len(text) >= 30 and text not in known:
            reviews.setdefault(text, tags)
    return reviews


def write_reviews(path: Path, reviews: Mapping[str, tuple[int, ...]]) -> None:
    """Write the CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("text", *TAGS))
        writer.writerows((text, *tags) for text, tags in reviews.items())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = Path(__file__).parent
    parser.add_argument("folder", type=Path, nargs="?", default=here, help=f"default: {here}")
    folder = parser.parse_args().folder
    shipped = make_reviews(N_REVIEWS, SEED)
    write_reviews(folder / "reviews.csv", shipped)
    write_reviews(folder / "new_reviews.csv", make_reviews(N_NEW, SEED + 1, shipped))
