"""Starts a new run from the weights of another one: pre-training on one text, fine-tuning on another.

The new run uses the model and the vocabulary of the other one, but its own labels.
"""

from scriptorium import UserError
from scriptorium.training import opening
from scriptorium.training.finding import find


def take_model(run, args, script, also=()):
    """Copies vocabulary, level and model options from the run in --init to a new run, before its text is read.

    Args:
        run: new `Run`.
        args: options of the new run, with `init`.
        script: name of the script of both runs.
        also: more options outside the group "model" that shape the model.

    Returns:
        The other `Run`.

    Raises:
        UserError: there is no such run, or an option on the command line contradicts it.
    """
    if not args.init:
        raise UserError("--init is empty; is a variable of the shell not set?")
    source = opening.read(find(args.init, args.logdir, (script,)), (script,))
    opening.check_options(source, args)
    groups = args.parser.groups
    shape = (dest for dest in groups if groups[dest] == "model" and hasattr(args, dest))
    for dest in [*shape, "level", *also]:
        value = source.options[dest]
        if dest in args.given and getattr(args, dest) != value:
            flag = args.parser.flags[dest]
            raise UserError(f"{flag} {getattr(args, dest)} contradicts {source.name}, which has {flag} {value}")
        setattr(args, dest, value)
        run.options[dest] = value
    run.vocabulary = source.vocabulary
    return source


def copy_weights(source, model, build, parts, excluded):
    """Copies the weights of another run into a model.

    Args:
        source: the `Run` that `take_model` returned.
        model: built model of the new run.
        build: function that builds a model from options and vocabulary.
        parts: names of the layers of the model whose weights are copied.
        excluded: function of such a layer that returns the sublayers to leave out, those of the labels.

    Returns:
        str, a note for the description of the corpus.
    """
    other = build(source.options, source.vocabulary)
    source.load_best(other)
    for part in (part for part in parts if getattr(model, part)):
        for old, new in zip(*(_weights(getattr(m, part), excluded) for m in (other, model)), strict=True):
            new.assign(old)
    return f"; starts from {source.name}"


def _weights(layer, excluded):
    excluded_ids = {id(weight) for part in excluded(layer) for weight in part.weights}
    return [weight for weight in layer.weights if id(weight) not in excluded_ids]


def freeze(model, parts, excluded):
    """Freezes the weights of layers, except in the sublayers that `excluded` returns.

    Args:
        model, parts, excluded: see `copy_weights`.
    """
    for part in (part for part in parts if getattr(model, part)):
        for weight in _weights(getattr(model, part), excluded):
            weight.trainable = False
