"""A training step of a multi-layer perceptron in each library: zero_grad, forward, backward, step.

A case names layers, batch and optimizer: "784-128-10, batch 64, Adam". Every function here takes
one and gives the step to time, with nothing left to do behind it: it returns when the parameters
are new.
"""
