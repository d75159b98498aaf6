"""The most important figures of the parity tests, condensed so that they are checked everywhere.

Two kinds stand in `expected_steps.json`:

* "steps": three SGD steps of small models in float64 whose weights, inputs, donors and masks come from a closed
  formula (no random numbers). They were written once, with `pytest --write-expected` in mind but by hand: call
  `three_steps(name)` and store its result. That implementation had been compared with tensors recorded from the
  released code (SkeletonCLR to 1e-5 in float32, SkeAttnCLR over three steps to 1e-8 in float64), so they keep what
  was equal to it from changing.
* the rest: excerpts of the recorded tensors themselves, as the released code gave them (CrosSCLR@792b70c,
  SkeleMixCLR@4538d6c, SkeAttnCLR@e3f05c6): the momentum schedule, the non-zero entries of both graphs, the body
  parts of recorded mixes, parameter counts, and draws with their shear matrices and crops.
"""
