"""Which scores say most about a run, and which way they are better."""

# From the most important one. A run has those that its script computes.
IN_TRAINING = ("reverse_lm_score", "lm_score", "neg_elbo", "kl", "nats_per_char", "perplexity", "nll", "bits_per_char")
ON_TEST = (
    *("lm_score", "reverse_lm_score", "exact_match", "walk_valid", "sample_valid", "iw_nll", "neg_elbo", "kl"),
    *("nats_per_char", "perplexity", "nll", "bleu_4", "self_bleu_4", "excess_nll", "bits_per_char"),
    *("kept", "walk_grammatical", "sample_grammatical"),
)
# Beginnings of the names of scores of which more is better.
HIGHER = (
    *("active_units", "bleu_", "confident_", "digit_accuracy", "exact_match", "kept", "label_accuracy", "more_likely"),
    *("mutual_information", "reconstruction_", "sample_", "sequence_accuracy", "token_accuracy", "unique", "walk_"),
    "well_formed",
)
FIRST_TAGS = IN_TRAINING[:6]  # scores whose curves come first in TensorBoard


def tag_of(name):
    """Returns the tag of a curve or picture in TensorBoard, which shows the groups of tags in alphabetical order."""
    return f"main/{name}" if name in FIRST_TAGS else f"more/{name}"


def main_scores(scores, order, count):
    """Returns the names of the scores that matter most, `count` at most.

    Args:
        scores: names of all scores that there are.
        order: IN_TRAINING or ON_TEST.
        count: int.
    """
    return [name for name in order if name in scores][:count]


def higher_is_better(name):
    """Whether more of a score is better."""
    return name.startswith(HIGHER)
