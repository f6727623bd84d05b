"""Writes text_scores.json: answers, references, and what the public scorers say of them.

    pip install torchmetrics rouge-score && python3 make_text_scores.py
"""
import json
import pathlib
import random

from rouge_score import rouge_scorer
from torchmetrics.functional.text import squad

ROUGE = rouge_scorer.RougeScorer(["rougeL"])
WORDS = ["the", "A", "an", "pump", "Pump,", "don't", "U.S.", "45", "3.5", "litres/minute", "Größe", "ΣΊΣΥΦΟΣ", "naïve", "中文",
         "“quoted”", "state-of-the-art", "and", "is", "—", "\u00a0", "\t", "_x_", "(bar)", "é", "İstanbul", "theory"]


def cases():
    yield "", [""]
    yield "the", [""]
    yield "", ["pump"]
    yield "!!!", ["..."]
    yield "The pump delivers 45 litres per minute.", ["45 litres per minute", "45 l/min"]
    yield "a an the", ["the"]
    yield "one two two three", ["two one two", "two two two"]
    yield "x", []
    random.seed(20261122)
    for _ in range(300):
        text = lambda: " ".join(random.choice(WORDS) for _ in range(random.randint(0, 9)))
        yield text(), [text() for _ in range(random.randint(1, 3))]


out = []
for answer, references in cases():
    rouge = max((ROUGE.score(r, answer)["rougeL"].fmeasure for r in references), default=0)
    scores = {"exact_match": 0, "f1": 0}
    if references:
        scores = squad([{"prediction_text": answer, "id": "1"}],
                       [{"answers": {"answer_start": [0] * len(references), "text": references}, "id": "1"}])
    out.append({"answer": answer, "references": references, "exact": float(scores["exact_match"]) / 100,
                "f1": float(scores["f1"]) / 100, "rouge_l": rouge})
pathlib.Path(__file__).with_name("text_scores.json").write_text(json.dumps(out, ensure_ascii=False, indent=0) + "\n")
