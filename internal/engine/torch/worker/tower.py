"""CLIP's image tower (Radford et al. 2021) in PyTorch: what control.py loads. Needs torch and nothing else."""

import json
import resource
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    raise Failure("no_torch", str(error)) from error  # noqa: F821 (control.py's)

STORED = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
COMPUTED = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def tensors(file):
    """The tensors of a safetensors file in memory, as views."""
    size = int.from_bytes(file[:8], "little")
    for name, t in json.loads(bytes(file[8 : 8 + size])).items():
        if name == "__metadata__":
            continue
        begin, end = t["data_offsets"]
        dtype = STORED[t["dtype"]]
        flat = torch.frombuffer(file, dtype=dtype, count=(end - begin) // dtype.itemsize, offset=8 + size + begin)
        yield name.removeprefix("visual."), flat.view(t["shape"])


class Tower(torch.nn.Module):
    """Linear layers and attention compute in one type; the residual stream and its norms stay in float32, so that
    half precision keeps to its contract on trained weights, whose residual has channels of large magnitude."""

    def __init__(self, weights, config, dtype, device):
        super().__init__()
        self.config, self.dtype = config, dtype
        for name, value in weights:
            wide = ".ln_" in "." + name or name in ("class_embedding", "positional_embedding")
            self.register_buffer(name.replace(".", "_"), value.to(device, torch.float32 if wide else dtype))

    def of(self, *path):
        return getattr(self, "_".join(path))

    def norm(self, x, *path):
        weight, bias = self.of(*path, "weight"), self.of(*path, "bias")
        return F.layer_norm(x, weight.shape, weight, bias, self.config["epsilon"])

    def linear(self, x, *path):
        return F.linear(x, self.of(*path, "weight"), self.of(*path, "bias"))

    def activation(self, x):
        return x * torch.sigmoid(1.702 * x) if self.config["quick_gelu"] else F.gelu(x)

    def attention(self, x, *path):
        images, tokens, width = x.shape
        heads = self.config["heads"]
        qkv = F.linear(x, self.of(*path, "in_proj_weight"), self.of(*path, "in_proj_bias"))
        q, k, v = qkv.view(images, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        context = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(images, tokens, width)
        return self.linear(context, *path, "out_proj")

    def forward(self, pixels):
        patches = F.conv2d(pixels.to(self.dtype), self.conv1_weight, stride=self.config["patch_size"])
        x = patches.flatten(2).transpose(1, 2).float()
        first = self.class_embedding.expand(x.shape[0], 1, -1)
        x = self.norm(torch.cat([first, x], dim=1) + self.positional_embedding, "ln_pre")
        for i in range(self.config["layers"]):
            block = ("transformer", "resblocks", str(i))
            x = x + self.attention(self.norm(x, *block, "ln_1").to(self.dtype), *block, "attn").float()
            h = self.linear(self.norm(x, *block, "ln_2").to(self.dtype), *block, "mlp", "c_fc")
            x = x + self.linear(self.activation(h), *block, "mlp", "c_proj").float()
        return (self.norm(x[:, 0], "ln_post").to(self.dtype) @ self.proj).float()


def chosen_device(name):
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise Failure("no_device", f"PyTorch {torch.__version__} sees no GPU")  # noqa: F821
        if device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        if device.index >= torch.cuda.device_count():
            raise Failure("no_device", f"no {device}: there are {torch.cuda.device_count()} GPUs")  # noqa: F821
    return device


def chosen_precision(order, device):
    if order["precision"] != "auto":
        return order["precision"]
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return order["cpu_precision"]


class Runner:
    """The tower with its input and output memory."""

    def __init__(self, order, weights, inputs, outputs):
        config = order["config"]
        self.device = chosen_device(order["device"])
        self.cuda = self.device.type == "cuda"
        self.precision = chosen_precision(order, self.device)
        self.compiled, self.batches, most = order["compile"], order["batches"] or [], order["max_batch"]
        if order["threads"]:
            torch.set_num_threads(order["threads"])
        # float32 means float32: the card would round its inputs to 10 bits.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        if self.cuda:
            torch.cuda.set_device(self.device)
            pin(inputs)
        size = config["image_size"]
        self.inputs = {
            "uint8": torch.frombuffer(inputs, dtype=torch.uint8, count=most * size * size * 3).view(most, size, size, 3),
            "float32": torch.frombuffer(inputs, dtype=torch.float32, count=most * size * size * 3).view(most, 3, size, size),
        }
        dim = config["embed_dim"]
        self.outputs = torch.frombuffer(outputs, dtype=torch.float32, count=most * dim).view(most, dim)
        mean = torch.tensor(config["mean"], device=self.device).view(3, 1, 1)
        std = torch.tensor(config["std"], device=self.device).view(3, 1, 1)
        self.scale, self.shift = 1 / (255 * std), -mean / std
        self.tower = Tower(tensors(weights), config, COMPUTED[self.precision], self.device).eval()
        if self.compiled:
            # Each planned batch is a graph of its own; beyond this limit PyTorch would silently stay eager.
            limit = len(self.batches) + 8
            for name in ("recompile_limit", "cache_size_limit"):
                if hasattr(torch._dynamo.config, name):
                    setattr(torch._dynamo.config, name, limit)
            self.tower = torch.compile(self.tower, dynamic=False, mode="reduce-overhead" if self.cuda else "default")
        for rows in self.batches or sorted({1, most}):
            for _ in range(3 if self.compiled else 1):  # CUDA graphs are recorded on the second run
                self.run(rows, "uint8")

    def describe(self):
        kind = "compiled" if self.compiled else "eager"
        out = {
            "device": str(self.device),
            "precision": self.precision,
            "variant": f"PyTorch {torch.__version__} {kind}",
            "host_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "device_bytes": 0,
        }
        if self.cuda:
            out["variant"] += ", " + torch.cuda.get_device_name(self.device)
            out["device_bytes"] = torch.cuda.max_memory_reserved(self.device)
        return out

    def normalised(self, rows, format):
        x = self.inputs[format][:rows].to(self.device, non_blocking=True)
        if format == "uint8":
            x = x.permute(0, 3, 1, 2).to(torch.float32).mul_(self.scale).add_(self.shift).contiguous()
        return x

    @torch.inference_mode()
    def compute(self, rows, format):
        planned = next((b for b in self.batches if b >= rows), rows)
        marks = [self.mark()]
        x = self.normalised(planned, format)
        marks.append(self.mark())
        y = self.tower(x)
        marks.append(self.mark())
        self.outputs[:rows].copy_(y[:rows])
        marks.append(self.mark())
        return marks

    def mark(self):
        if not self.cuda:
            return time.perf_counter_ns()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def run(self, rows, format, profile=False):
        if not profile:
            return self.timed(rows, format)
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self.cuda:
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=activities) as recorded:
            answer = self.timed(rows, format)
        answer["operators"] = operators(recorded.key_averages(), self.cuda)
        return answer

    def timed(self, rows, format):
        try:
            marks = self.compute(rows, format)
            if self.cuda:
                marks[-1].synchronize()
        except torch.OutOfMemoryError as error:
            raise Failure("exhausted", str(error)) from error  # noqa: F821
        except Exception as error:
            if self.cuda and not usable(self.device):
                raise Failure("lost", f"{type(error).__name__}: {error}") from error  # noqa: F821
            raise
        if self.cuda:
            spans = [int(a.elapsed_time(b) * 1e6) for a, b in zip(marks, marks[1:])]
        else:
            spans = [b - a for a, b in zip(marks, marks[1:])]
        return dict(zip(("input_ns", "compute_ns", "output_ns"), spans))


def operators(averages, cuda):
    """PyTorch's operators with their own time, without those that they call: the card's where there is one, for the
    host only launches there."""
    out = []
    for e in averages:
        microseconds = e.self_device_time_total if cuda else e.self_cpu_time_total
        if microseconds > 0 and e.device_type == torch.autograd.DeviceType.CPU and not e.key.startswith("cuda"):
            out.append({"name": e.key, "calls": e.count, "total_ns": int(microseconds * 1000)})
    return out


def pin(memory):
    """Lets the card read the inputs where they lie; where it may not, PyTorch copies them once more."""
    view = torch.frombuffer(memory, dtype=torch.uint8)
    code = torch.cuda.cudart().cudaHostRegister(view.data_ptr(), view.numel(), 0)
    if int(code) != 0:
        print(f"the inputs' memory cannot be pinned: error {int(code)}", flush=True)


def usable(device):
    """Whether the device still works after an error: some errors end a CUDA context for good."""
    try:
        torch.cuda.synchronize(device)
        return True
    except Exception:  # noqa: BLE001 (any error is the answer)
        return False


def load(order, weights, inputs, outputs):
    return Runner(order, weights, inputs, outputs)
