"""The recurrence of an LSTM or GRU with torch's own kernels on a CPU; on a GPU Keras uses them itself."""

import torch


def scan(gru, inputs, kernel, recurrent_kernel, bias, states, backwards):
    """Runs a recurrence over whole sequences.

    Args:
        gru: True for a GRU (Keras's with reset_after), False for an LSTM.
        inputs: (batch, time, features), in the dtype of the product.
        kernel, recurrent_kernel, bias: Keras's weights; bias may be None.
        states: list of the first states, (batch, units) each.
        backwards: whether to read from the last step to the first.

    Returns:
        The last output (batch, units), all outputs (batch, time, units), the list of last states.
    """
    dtype = inputs.dtype
    weights = [weight.to(dtype).T for weight in (kernel, recurrent_kernel)]
    if bias is not None:
        # torch adds one bias to the projected inputs and one to the projected state; Keras's LSTM has only the first.
        bias = bias.to(dtype)
        weights += [bias[0], bias[1]] if gru else [bias, torch.zeros_like(bias)]
    if gru:
        # Keras's gates are update, reset, candidate; torch's are reset, update, candidate.
        weights = [torch.cat([part.chunk(3)[i] for i in (1, 0, 2)]) for part in weights]
    first = [state.to(dtype)[None].contiguous() for state in states]
    weights = [weight.contiguous() for weight in weights]
    inputs = torch.flip(inputs, [1]) if backwards else inputs
    settings = (bias is not None, 1, 0.0, torch.is_grad_enabled(), False, True)
    if gru:
        outputs, *last = torch._VF.gru(inputs, first[0], weights, *settings)
    else:
        outputs, *last = torch._VF.lstm(inputs, first, weights, *settings)
    return outputs[:, -1], outputs, [state[0] for state in last]
