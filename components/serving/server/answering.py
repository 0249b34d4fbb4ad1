"""The bytes of images → their predictions, by the model that answers when the request begins."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter

from components.images.decoder import Pixels
from components.images.fault import Fault
from components.serving.batching import BusyError, Output
from components.serving.following import Follower, Served
from components.serving.metrics import Metrics
from components.serving.model import Model, Prediction
from components.serving.server.problems import Problem, busy
from components.serving.shadow import Shadow
from components.worker_processes import cores


@dataclass(eq=False)
class Answers:
    """Decodes images in threads, and lets them be computed in batches.

    follower: holds the model that answers. metrics: what is counted. shadow: a second model that is
    asked beside it, or None.
    """

    follower: Follower
    metrics: Metrics
    shadow: Shadow | None = None
    _decoding: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(cores(), thread_name_prefix="decoding")
    )

    async def predict(self, images: Sequence[bytes], top: int) -> tuple[Model, list[Prediction]]:
        """Return the model that has answered, and a Prediction for each image, in their order.

        Raises Problem if `top` is not between 1 and the number of classes (422), or if so many
        images wait that there is no place for these (503).
        """
        with self.follower.lease() as served:
            model = served.model
            check_top(top, model)
            found = await self._compute(served, images)
        predictions = [
            Prediction(fault=output.code, reason=output.text)
            if isinstance(output, Fault)
            else model.prediction(output.probabilities, top)
            for output in found
        ]
        self.metrics.see_predictions(predictions)
        if self.shadow is not None:
            for content, prediction in zip(images, predictions, strict=True):
                self.shadow.ask(content, prediction, model)
        return model, predictions

    def close(self) -> None:
        """Answer what waits, and end all threads."""
        if self.shadow is not None:
            self.shadow.close()
        self.follower.close()
        self._decoding.shutdown()

    async def decode(self, model: Model, content: bytes) -> Pixels | Fault:
        """Return the pixels of an image, uint8 [S, S, 3], or the fault for which it is refused."""
        begun = perf_counter()
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._decoding, model.pixels, content)
        except Fault as fault:
            return fault
        finally:
            self.metrics.phases.labels("decode").observe(perf_counter() - begun)

    async def _compute(self, served: Served, images: Sequence[bytes]) -> list[Output | Fault]:
        batcher, left = served.batcher, len(images)
        try:
            batcher.reserve(left)
        except BusyError:
            if left > batcher.places:
                text = f"at most {batcher.places} images of this model are taken at once"
                raise Problem(413, f"{text}; send fewer. Received: {left} images") from None
            raise busy("too many images wait") from None
        # Requests with few images are not behind all images of one with many.
        lane = asyncio.Semaphore(cores())

        async def one(content: bytes) -> Output | Fault:
            nonlocal left
            async with lane:
                pixels = await self.decode(served.model, content)
            left -= 1
            if isinstance(pixels, Fault):
                batcher.give_back(1)
                return pixels
            future: Future[Output] = batcher.submit(pixels)
            return await asyncio.wrap_future(future)

        try:
            done = await asyncio.gather(*map(one, images), return_exceptions=True)
        finally:
            batcher.give_back(left)  # of images that were not decoded, because the request ended
        outputs: list[Output | Fault] = []
        for output in done:
            if isinstance(output, BaseException) and not isinstance(output, Fault):
                raise output
            outputs.append(output)
        self.metrics.see_outputs(output for output in outputs if isinstance(output, Output))
        return outputs


def check_top(top: int, model: Model) -> None:
    """Raise Problem (422) if `top` is not between 1 and the number of classes."""
    classes = len(model.class_names)
    if not 1 <= top <= classes:
        text = f"top must be 1 to {classes}, which is the number of classes. Received: {top}"
        raise Problem(422, text)
