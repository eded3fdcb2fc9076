"""Training on several devices with TensorFlow, by `tf.distribute.MirroredStrategy`.

Each device computes its own rows of a batch. What they find is then put together, and every device computes the loss of
the whole batch from it. So a loss, statistics over a batch and gradients are those of one device, apart from random
numbers, whatever the loss divides by, and however many rows a device has; it may have none.
"""

import atexit
import contextlib

import keras
import numpy as np

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

_entered = contextlib.ExitStack()  # what `begin` has entered
# Of keras.optimizers.LossScaleOptimizer, which assigns them, alike on all devices, where nothing can be exchanged.
ASSIGNED_APART = ("step_counter", "dynamic_scale")
DISTINCT = 7919  # makes the random numbers of two devices different: a prime, far above the numbers of devices


def devices():
    """Returns the names of the devices that TensorFlow can train on: its GPUs, or else its processors."""
    kinds = (tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
    return [device.name for device in next(filter(None, kinds))]


def begin(names):
    """Builds models and trains them on several devices, until `end`."""
    atexit.register(end)
    _enter(tf.distribute.MirroredStrategy(names))


def _enter(strategy):
    """Begins to use a strategy, until `end`."""
    _entered.enter_context(strategy.scope())
    _entered.enter_context(tf.variable_creator_scope(_assigned_alike))
    drawn = keras.random.SeedGenerator.next

    def distinct(self, *arguments, **settings):
        seed = drawn(self, *arguments, **settings)
        return seed + tf.cast(tf.stack([replica() * DISTINCT, 0]), seed.dtype) if replicas() > 1 else seed

    keras.random.SeedGenerator.next = distinct
    _entered.callback(setattr, keras.random.SeedGenerator, "next", drawn)


def end():
    """Returns to one device."""
    _entered.close()


@contextlib.contextmanager
def interrupted():
    """Returns to one device for a while."""
    strategy = tf.distribute.get_strategy() if in_use() else None
    end()
    try:
        yield
    finally:
        if strategy:
            _enter(strategy)


def _assigned_alike(create, **settings):
    """Creates a variable to which all devices assign the same: that of the first one counts, or for metrics, the mean.

    TensorFlow refuses what it has not been told how to reduce, and Keras has it add up metrics.
    """
    kind = tf.VariableAggregation
    if settings.get("synchronization") == tf.VariableSynchronization.ON_READ:
        settings["aggregation"] = kind.MEAN
    elif settings.get("aggregation") in (None, kind.NONE) and settings.get("name") not in ASSIGNED_APART:
        settings["aggregation"] = kind.ONLY_FIRST_REPLICA
    return create(**settings)


def in_use():
    """Whether TensorFlow trains on several devices."""
    return keras.backend.backend() == "tensorflow" and tf.distribute.has_strategy()


def array_of(variable):
    """Returns the value of a variable as a numpy array; numpy itself cannot read one that several devices have."""
    return np.array(keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(variable)))


def replicas():
    """Returns how many devices compute this step; 1 outside a step of training."""
    if not in_use() or tf.distribute.in_cross_replica_context():
        return 1
    return tf.distribute.get_replica_context().num_replicas_in_sync


def replica():
    """Returns which of the devices computes this, from 0: int scalar tensor."""
    return tf.distribute.get_replica_context().replica_id_in_sync_group


def all_rows(arrays):
    """Returns the rows of all devices, in order, of arrays (rows, ...) in any structure; scalars stay as they are.

    The gradient passes through. With other backends, an array has all rows already.
    """
    if replicas() == 1:
        return arrays

    def gathered(array):
        if array is None or not len(array.shape):
            return array
        # Devices exchange neither truth values nor bfloat16.
        sent = tf.cast(array, {"bool": "int32", "bfloat16": "float32"}.get(array.dtype.name, array.dtype))
        rows = tf.cast(tf.distribute.get_replica_context().all_gather(sent, axis=0), array.dtype)
        return tf.ensure_shape(rows, [None, *array.shape[1:]])

    return keras.tree.map_structure(gathered, arrays)


def own_rows(array):
    """Returns the rows of an array (all rows, ...) that this device computes; see `all_rows`."""
    if replicas() == 1:
        return array
    rows = array.shape[0] // replicas()
    return tf.slice(array, [replica() * rows, *[0] * (len(array.shape) - 1)], [rows, *array.shape[1:]])


def feed(generate, kinds, options):
    """Returns a dataset that gives each device its rows of every batch.

    Args:
        generate: function that returns an iterator over batches, arrays (rows, ...) in any structure.
        kinds: the same structure of `tf.TensorSpec`.
        options: `tf.data.Options`.
    """
    strategy = tf.distribute.get_strategy()
    count = strategy.num_replicas_in_sync

    def parts():
        for batch in generate():
            rows = len(keras.tree.flatten(batch)[0])
            for i in range(count):
                own = slice(i * rows // count, (i + 1) * rows // count)
                yield keras.tree.map_structure(lambda array, own=own: array[own], batch)

    data = tf.data.Dataset.from_generator(parts, output_signature=kinds).prefetch(2 * count).with_options(options)
    return strategy.distribute_datasets_from_function(lambda context: data)


def share_steps(model):
    """Lets the training steps of a compiled model share the rows of a batch."""
    compute_loss = model.compute_loss

    def loss_of_all(x=None, y=None, y_pred=None, sample_weight=None, training=True):
        x, y, y_pred, sample_weight = all_rows((x, y, y_pred, sample_weight))
        return compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)

    model.compute_loss = loss_of_all
    # Otherwise Keras, before each pass, would average the rows of a batch over devices, which may have unequal numbers.
    model._distribute_strategy = None
    players = getattr(model.optimizer, "parts", None)
    if players is None:
        apply = model.optimizer.apply
        model.optimizer.apply = lambda gradients, variables=None: apply(of_whole_batch(gradients), variables)
    for optimizer in [model.optimizer] if players is None else [player for player, _ in players.values()]:
        # Keras would clip each device's part of a gradient before it adds up the parts.
        getattr(optimizer, "inner_optimizer", optimizer)._all_reduce_sum_gradients = list


def of_whole_batch(gradients):
    """Returns the gradients of the loss of the whole batch, given those that this device has computed."""
    gradients, count = list(gradients), replicas()
    if count == 1:
        return gradients
    found = [gradient for gradient in gradients if gradient is not None]
    summed = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, found))
    # Each device has differentiated the loss of the whole batch, so their sum counts it once per device.
    return [None if one is None else tf.convert_to_tensor(next(summed)) / count for one in gradients]
