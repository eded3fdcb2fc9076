"""Byte-pair encoding: tokens between characters and words, learnt from a corpus (Sennrich et al. 2016).

Floor 1, used by util.Vocabulary. It starts from the bytes of a text, so that any text can be written and none has an
unknown token (Radford et al. 2019); merges go neither over the edges of words nor from letters to signs. Learning and
splitting are the `tokenizers` package's.
"""

import json

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers


def learn(texts, size):
    """Learns pieces from texts.

    Args:
        texts: iterable of str.
        size: number of pieces, those of one byte counted; at least 256.

    Returns:
        list of the pieces in the order in which they were made, each byte of them one character, and list of the pairs
        that were merged, in their order.
    """
    tokenizer = _tokenizer(models.BPE())
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    ids = tokenizer.get_vocab()
    pieces = sorted(ids, key=ids.get)
    return pieces, json.loads(tokenizer.to_str())["model"]["merges"]


def _tokenizer(model):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def splitter(pieces, merges):
    """Returns the function that splits a text into its pieces, list of str; ValueError where pairs make no piece."""
    ids = {piece: i for i, piece in enumerate(pieces)}
    try:
        tokenizer = _tokenizer(models.BPE(ids, [tuple(pair) for pair in merges]))
    except Exception as error:  # the package raises nothing more exact
        raise ValueError(f"These merges do not go with these pieces: {error}.") from error
    return lambda text: tokenizer.encode(text).tokens


def joined(pieces):
    """Returns the text that pieces spell."""
    return decoders.ByteLevel().decode(list(pieces))
