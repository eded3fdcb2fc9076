"""The options of the group "sampling", as settings of the functions that write texts."""


def sampling_settings(options, *more):
    """Returns the sampling settings among the options, a dict: temperature, top_k, top_p, and further names.

    Args:
        options: dict of a run's options, or the attributes of a command line.
        more: names of further options to include, such as "beam".
    """
    options = options if isinstance(options, dict) else vars(options)
    return {name: options[name] for name in ("temperature", "top_k", "top_p", *more)}
