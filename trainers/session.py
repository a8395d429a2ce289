"""Everything of a run that changes from step to step, and comes back from a saved state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import get_ema_multi_avg_fn

from . import adapters, optimizers
from .adapters import Layers
from .config import TrainConfig
from .run import Progress


@dataclass
class Session:
    """A run in progress. parameters: the trained ones by name; flat: the same for the optimizer. step: how many were
    made. average: of the parameters, where the config wants one. best: those at the lowest validation loss so far.
    finished: no person ended it early."""

    config: TrainConfig
    layers: Layers
    parameters: Mapping[str, nn.Parameter]
    flat: optimizers.Flat
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    scaler: torch.amp.GradScaler
    step: int = 0
    metrics: list[Progress] = field(default_factory=list)
    average: dict[str, Tensor] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    finished: bool = True

    @classmethod
    def begin(cls, layers: Layers, config: TrainConfig, device: torch.device, dtype: torch.dtype) -> Session:
        parameters = adapters.parameters(layers)
        flat = optimizers.Flat(parameters.values())
        optimizer = optimizers.adamw([flat.value], config.optimizer)
        average = {}
        if config.optimizer.ema_decay:
            average = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        return cls(
            config, layers, parameters, flat, optimizer,
            schedule=optimizers.schedule(optimizer, config.optimizer, config.steps),
            # float16 has no room for small gradients: the loss is scaled up for the backward pass (1710.03740, 3.2)
            scaler=torch.amp.GradScaler(device.type, enabled=dtype == torch.float16),
            average=average,
        )  # fmt: skip

    @property
    def is_checkpoint(self) -> bool:
        """Whether the run is to be kept as it is after this step."""
        interval = self.config.checkpoint_every
        return bool(interval and self.step and self.step % interval == 0)

    def state(self) -> dict[str, Any]:
        """For a file: with it `load` goes on to the same numbers."""
        return {
            "step": self.step,
            "parameters": adapters.state(self.layers),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average,
            "best": self.best,
            "metrics": [vars(entry) for entry in self.metrics],
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state` gave, with the same config on the same base."""
        self.step = saved["step"]
        adapters.load_state(self.layers, saved["parameters"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        self.scaler.load_state_dict(saved["scaler"])
        device = next(iter(self.parameters.values())).device
        self.average = {name: tensor.to(device) for name, tensor in saved["average"].items()}
        self.best = dict(saved["best"])
        self.metrics = [Progress(**entry) for entry in saved["metrics"]]

    @torch.no_grad()
    def update_average(self) -> None:
        """Exponential moving average that follows faster while it is young."""
        if not self.average:
            return
        decay = min(self.config.optimizer.ema_decay, (1 + self.step) / (10 + self.step))
        parameters = [parameter.detach() for parameter in self.parameters.values()]
        get_ema_multi_avg_fn(decay)(list(self.average.values()), parameters, None)

    def weights(self, parameters: Mapping[str, Tensor] | None = None) -> dict[str, dict[str, Tensor]]:
        """What a LoRA file holds of each layer (`adapters.file_weights`), of these parameters, else the current ones;
        the run goes on with its own."""
        with self.using(parameters or self.current()):
            return adapters.file_weights(self.layers, self.config.adapter)

    @contextmanager
    def using(self, parameters: Mapping[str, Tensor]) -> Iterator[None]:
        """The adapters have other parameters meanwhile."""
        own = adapters.state(self.layers)
        adapters.load_state(self.layers, parameters)
        try:
            yield
        finally:
            adapters.load_state(self.layers, own)

    def current(self) -> dict[str, Tensor]:
        """The averaged parameters where there are any, else the last."""
        return self.average or adapters.state(self.layers)

    def result(self) -> dict[str, Tensor]:
        """What the LoRA is made of: the parameters of the lowest validation loss, where there was validation."""
        return self.best or self.current()
