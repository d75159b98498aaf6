"""Pre-training steps in the style of the released code, for timing and for tests of equality with ours.

Neighbours by einsum, a loop over the parameters for the moving average with a new tensor each, a copy of the queue
in every forward, a pointer and a loss that are read on the host. Parts are named as in the released checkpoints, so
that a method's own weights load into them through its `official_names`.
Sources: CrosSCLR@792b70c, AimCLR@6cd7376, SkeAttnCLR@e3f05c6, `net/`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....methods import Method, Progress


class GraphConvolution(nn.Module):
    """A 1×1 convolution to K·C' channels, then neighbours by einsum; x (B, C, T, V), graph (K, V, V)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, 3 * outputs, 1)

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        """Sum over partitions and neighbours."""
        x = self.conv(x)
        b, kc, t, v = x.shape
        return torch.einsum("nkctv,kvw->nctw", x.view(b, 3, kc // 3, t, v), graph).contiguous()


class Block(nn.Module):
    """Graph convolution, temporal convolution, residual."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float, residual: bool):
        super().__init__()
        self.gcn = GraphConvolution(inputs, outputs)
        self.tcn = nn.Sequential(
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, (9, 1), (stride, 1), (4, 0)),
            nn.BatchNorm2d(outputs),
            nn.Dropout(dropout, inplace=True),
        )
        self.adds = residual
        self.residual = nn.Identity()
        if residual and (inputs != outputs or stride != 1):
            self.residual = nn.Sequential(nn.Conv2d(inputs, outputs, 1, (stride, 1)), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        """Apply the block."""
        residual = self.residual(x) if self.adds else 0
        return functional.relu(self.tcn(self.gcn(x, graph)) + residual, inplace=True)


class STGCN(nn.Module):
    """Clips (N, 3, T, V, M) to features (N, M, D, T', V)."""

    A: Tensor

    def __init__(self, graph: Tensor, width: int, dim: int, dropout: float):
        super().__init__()
        self.register_buffer("A", graph.clone())
        self.data_bn = nn.BatchNorm1d(3 * graph.shape[1])
        sizes = [3, *[width] * 4, *[2 * width] * 3, *[4 * width] * 2, dim]
        self.st_gcn_networks = nn.ModuleList(
            Block(*sizes[i : i + 2], stride=2 if i in (4, 7) else 1, dropout=dropout if i else 0, residual=i > 0)
            for i in range(10)
        )
        self.edge_importance = nn.ParameterList(torch.ones_like(graph) for _ in range(10))

    def features(self, x: Tensor) -> Tensor:
        """Encode."""
        n, c, t, v, m = x.shape
        x = x.permute(0, 4, 3, 1, 2).contiguous().view(n * m, v * c, t)
        x = self.data_bn(x).view(n, m, v, c, t).permute(0, 1, 3, 4, 2).contiguous().view(n * m, c, t, v)
        for block, importance in zip(self.st_gcn_networks, self.edge_importance, strict=True):
            x = block(x, self.A * importance)
        return x.view(n, m, *x.shape[1:])


def pool(features: Tensor) -> Tensor:
    """Mean over T' and V', then over persons: (N, D)."""
    return features.mean(dim=(3, 4)).mean(dim=1)


class Encoder(STGCN):
    """ST-GCN with the head `fc`, of SkeletonCLR and AimCLR."""

    def __init__(self, graph: Tensor, width: int, dim: int, dropout: float, feature_dim: int):
        super().__init__(graph, width, dim, dropout)
        self.fc = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, feature_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Unit embeddings (N, d)."""
        return self.head(self.features(x))

    def head(self, features: Tensor) -> Tensor:
        """Pool, project, normalise."""
        return functional.normalize(self.fc(pool(features)), dim=1)


class SkeletonCLR(nn.Module):
    """A query and a key encoder and a queue."""

    queue: Tensor
    queue_ptr: Tensor

    def __init__(self, method: Any):
        super().__init__()
        backbone, self.config = method.build.backbone_args, method.config
        sizes = backbone["width"], backbone["dim"], backbone["dropout"], method.config.feature_dim
        graph = method.encoder_q.backbone.adjacency
        self.encoder_q, self.encoder_k = Encoder(graph, *sizes), Encoder(graph, *sizes)
        for parameter in self.encoder_k.parameters():
            parameter.requires_grad = False
        self.register_buffer("queue", method.queue.clone())
        self.register_buffer("queue_ptr", method.queue_ptr.clone())

    @torch.no_grad()
    def move_key_encoder(self) -> None:
        """Update the key encoder, with a new tensor for every parameter."""
        m = self.config.momentum
        for query, key in zip(self.encoder_q.parameters(), self.encoder_k.parameters(), strict=True):
            key.data = key.data * m + query.data * (1 - m)

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Write the keys at the pointer and advance it."""
        pointer = int(self.queue_ptr)
        self.queue[:, pointer : pointer + len(keys)] = keys.T
        self.queue_ptr[0] = (pointer + len(keys)) % self.queue.shape[1]

    def logits(self, query: Tensor, key: Tensor) -> Tensor:
        """(N, 1 + K)."""
        positive = torch.einsum("nc,nc->n", query, key).unsqueeze(-1)
        negative = torch.einsum("nc,ck->nk", query, self.queue.clone().detach())
        return torch.cat([positive, negative], dim=1) / self.config.temperature

    def forward(self, views: Mapping[str, Tensor], draws: Mapping[str, Any]) -> Tensor:
        """Compute the loss, update the key encoder and enqueue the keys."""
        query = self.encoder_q(views["query"])
        with torch.no_grad():
            self.move_key_encoder()
            key = self.encoder_k(views["key"])
        logits = self.logits(query, key)
        self.enqueue(key)
        return functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))

    def after_step(self, progress: Progress) -> None:
        """Do nothing: `forward` has enqueued the keys."""


class AimCLR(SkeletonCLR):
    """Three queries; the first stage, before mining."""

    def forward(self, views: Mapping[str, Tensor], draws: Mapping[str, Any]) -> Tensor:
        """L_1 + (L_2 + L_3) / 2."""
        query = self.encoder_q(views["query"])
        features = self.encoder_q.features(views["query_extreme"])
        extreme = self.encoder_q.head(features)
        dropped = self.encoder_q.head(drop(features, self.config.keep))
        with torch.no_grad():
            self.move_key_encoder()
            key = self.encoder_k(views["key"])
        logits, *others = (self.logits(q, key) for q in (query, extreme, dropped))
        self.enqueue(key)
        target = torch.softmax(logits, dim=1).detach()
        loss = functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
        for other in others:
            loss = loss - torch.mean(torch.sum(target * functional.log_softmax(other, dim=1), dim=1)) / 2
        return loss


def drop(x: Tensor, keep: float) -> Tensor:
    """EADM on features (N, M, D, T', V)."""
    size = x.shape[3] * x.shape[4]
    distance = (x - x.mean(dim=[3, 4], keepdim=True)).pow(2)
    energy = distance / (4 * (distance.sum(dim=[3, 4], keepdim=True) / (size - 1) + 1e-4)) + 0.5
    attention = torch.sigmoid(energy)
    joints = (attention.mean(dim=3, keepdim=True).mean(dim=2, keepdim=True) < keep).type_as(x)
    elements = (attention < keep).type_as(x)
    x = x * joints * joints.numel() / joints.sum()
    return x * elements * elements.numel() / elements.sum()


class Mlp(nn.Module):
    """Linear, batch norm, ReLU, linear."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        first, last = nn.Linear(inputs, hidden, bias=False), nn.Linear(hidden, outputs, bias=False)
        self.mlp = nn.Sequential(first, nn.BatchNorm1d(hidden), nn.ReLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        """(N, d)."""
        return self.mlp(x)


class Attention(nn.Module):
    """Multi-head self-attention as a mask."""

    def __init__(self, dim: int, heads: int, lam: float):
        super().__init__()
        self.heads, self.lam = heads, lam
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, c)."""
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (c // self.heads) ** -0.5).softmax(dim=-1)
        return torch.sigmoid(self.lam * self.proj((weights @ v).transpose(1, 2).reshape(b, n, c)))


class Neck(nn.Module):
    """Norm, attention and projection."""

    def __init__(self, dim: int, heads: int, lam: float, feature_dim: int):
        super().__init__()
        self.norm0, self.Attn, self.proj = nn.LayerNorm(dim), Attention(dim, heads, lam), Mlp(dim, dim, feature_dim)

    def mask(self, features: Tensor) -> Tensor:
        """Salience of features (N, M, D, T', V)."""
        n, m, d, t, v = features.shape
        tokens = features.permute(0, 1, 3, 4, 2).contiguous().view(n * m, t * v, d)
        return self.Attn(self.norm0(tokens)).view(n, m, t, v, d).permute(0, 1, 4, 2, 3).contiguous()


class AttentionEncoder(nn.Module):
    """Backbone and neck of SkeAttnCLR."""

    def __init__(self, graph: Tensor, backbone: Mapping[str, Any], config: Any):
        super().__init__()
        self.backbone = STGCN(graph, backbone["width"], backbone["dim"], backbone["dropout"])
        self.neck = Neck(backbone["dim"], config.heads, config.lam, config.feature_dim)

    def parts(self, features: Tensor, mask: Tensor) -> list[Tensor]:
        """The projections of the full features, the salient part and the rest."""
        return [self.neck.proj(pool(part)) for part in (features, features * mask, features * (1 - mask))]


class SkeAttnCLR(nn.Module):
    """Full, salient and non-salient contrast; mixes clips in its forward."""

    queue_z: Tensor
    queue_ptr_z: Tensor

    def __init__(self, method: Any):
        super().__init__()
        self.config, d = method.config, method.config.feature_dim
        graph, args = method.encoder_q.backbone.adjacency, method.build.backbone_args
        self.encoder_q = AttentionEncoder(graph, args, self.config)
        self.encoder_k = AttentionEncoder(graph, args, self.config)
        for parameter in self.encoder_k.parameters():
            parameter.requires_grad = False
        self.predictor, self.predictor_s, self.predictor_ns = (Mlp(d, 2 * d, d) for _ in range(3))
        self.register_buffer("queue_z", method.queue.clone())
        self.register_buffer("queue_ptr_z", method.queue_ptr.clone())

    def contrast(self, query: Tensor, key: Tensor, other: Tensor | None = None) -> Tensor:
        """InfoNCE against a copy of the queue and, if given, one more negative each."""
        columns = [torch.einsum("nc,nc->n", query, key).unsqueeze(-1)]
        columns.append(torch.einsum("nc,ck->nk", query, self.queue_z.clone().detach()))
        if other is not None:
            columns.append(torch.einsum("nc,nc->n", query, other.detach()).unsqueeze(-1))
        logits = torch.cat(columns, dim=1) / self.config.temperature
        return functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))

    def forward(self, views: Mapping[str, Tensor], draws: Mapping[str, Any]) -> Tensor:
        """L_z + μ·L_s + (1 − μ)·L_ns; stores the keys."""
        mixed = views["query"].clone()
        inside = draws["mask"][0].repeat_interleave(4, dim=0)[: mixed.shape[2]]
        for t, v in inside.nonzero().tolist():
            mixed[:, :, t, v] = views["query"][draws["donor"][0], :, t, v]
        encoder, unit = self.encoder_q, functional.normalize
        query = unit(self.predictor(encoder.neck.proj(pool(encoder.backbone.features(views["query"])))), dim=1)
        features = encoder.backbone.features(mixed)
        mask = encoder.neck.mask(features)
        predictors = (self.predictor, self.predictor_s, self.predictor_ns)
        parts = [unit(p(part), dim=1) for p, part in zip(predictors, encoder.parts(features, mask), strict=True)]
        with torch.no_grad():
            features = self.encoder_k.backbone.features(views["key"])
            keys = [unit(part, dim=1) for part in self.encoder_k.parts(features, mask.detach())]
        self.keys = keys[0]
        mu, context = self.config.mu, self.config.context
        salient = self.contrast(parts[1], keys[1], parts[2] if context else None)
        rest = self.contrast(parts[2], keys[2], parts[1] if context else None)
        return self.contrast(query, keys[0]) + mu * salient + (1 - mu) * rest

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Enqueue the keys, then update the complete state of the key encoder."""
        pointer = int(self.queue_ptr_z)
        self.queue_z[:, pointer : pointer + len(self.keys)] = self.keys.T
        self.queue_ptr_z[0] = (pointer + len(self.keys)) % self.queue_z.shape[1]
        done = (progress.epoch - 1 + self.config.ema_offset) * progress.iterations_per_epoch + progress.iteration
        share = done / (progress.epochs * progress.iterations_per_epoch)
        m = 1 - (1 - self.config.momentum) * (math.cos(math.pi * share) + 1) / 2
        query = self.encoder_q.state_dict()
        for name, value in self.encoder_k.state_dict().items():
            if value.is_floating_point():
                value.copy_(value * m + query[name] * (1 - m))
            else:
                value.copy_(query[name])


PLAIN = {"skeletonclr": SkeletonCLR, "aimclr": AimCLR, "skeattnclr": SkeAttnCLR}


def plain_copy(name: str, method: Method) -> nn.Module:
    """The plain reference of a method of `PLAIN` with an ST-GCN, starting from the method's weights and queue."""
    plain = PLAIN[name](method).to(next(method.parameters()))
    own = method.state_dict()
    weights = {official: own[mine] for mine, official in method.official_names().items()}
    plain.load_state_dict(weights | method.official_constants())
    return plain
