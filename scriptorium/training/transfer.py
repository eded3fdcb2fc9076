"""Starts a new run from the weights of another one: pre-training on one text, fine-tuning on another.

The new run has the model and the vocabulary of the other one; labels are its own.
"""

from scriptorium import UserError
from scriptorium.training import opening


def take_model(run, args, script, also=()):
    """Gives a new run the vocabulary and the options of the model of the run in --init, before its text is read.

    Args:
        run: new `Run`.
        args: its options, with `init`.
        script: name of the script that both are of.
        also: options that shape the model without being in the group "model".

    Returns:
        The other `Run`.

    Raises:
        UserError: there is none, or an option on the command line contradicts it.
    """
    source = opening.read(opening.find(args.init, args.logdir, (script,)), (script,))
    for dest in [*(dest for dest, group in args.groups.items() if group == "model" and hasattr(args, dest)), *also]:
        value = source.options[dest]
        if dest in args.given and getattr(args, dest) != value:
            flag = args.flags[dest]
            raise UserError(f"{flag} {getattr(args, dest)} contradicts {source.name}, which has {flag} {value}")
        setattr(args, dest, value)
        run.options[dest] = value
    run.vocabulary = source.vocabulary
    return source


def copy_weights(source, model, build, parts, apart):
    """Gives a model the weights of another run.

    Args:
        source: what `take_model` returned.
        model: built model of the new run.
        build: function of options and vocabulary that makes such a model.
        parts: names of the layers of the model whose weights are taken.
        apart: function of such a layer: the layers in it that keep their own weights, those of the labels.

    Returns:
        str, what was done, to be added to the description of the corpus.
    """
    other = build(source.options, source.vocabulary)
    source.load_best(other)
    for part in parts:
        for old, new in zip(*(_weights(getattr(m, part), apart) for m in (other, model)), strict=True):
            new.assign(old)
    return f"; starts from {source.name}"


def _weights(layer, apart):
    own = {id(weight) for part in apart(layer) for weight in part.weights}
    return [weight for weight in layer.weights if id(weight) not in own]


def freeze(layer, apart):
    """Keeps the weights of a layer as they are in training, but those of the layers that `apart` gives."""
    for weight in _weights(layer, apart):
        weight.trainable = False
