"""Segment an image with the dnn module of OpenCV 5 alone.

python opencv_dnn.py MODEL.onnx IMAGE OUT.png
The card is MODEL.onnx.json (segdeploy export --card-file), since OpenCV reads no metadata.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np

model, image_file, out = sys.argv[1:]
card = json.loads(Path(f"{model}.json").read_text(encoding="utf-8"))
height, width = card["input"]["height"], card["input"]["width"]
network = cv2.dnn.readNetFromONNX(model)

image = cv2.imread(image_file)
small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
# The file takes uint8 RGB, (1, height, width, 3), as it is; no blobFromImage, no mean, no scale.
network.setInput(cv2.cvtColor(small, cv2.COLOR_BGR2RGB)[None], "image")
output = network.forward()
if card["output"] == "classes":
    nearest = cv2.INTER_NEAREST_EXACT
    mask = cv2.resize(output[0].astype(np.uint8), image.shape[1::-1], interpolation=nearest)
else:
    planes = [cv2.resize(plane, image.shape[1::-1]) for plane in output[0]]
    mask = np.argmax(planes, axis=0).astype(np.uint8)

colors = np.array([entry["color"][::-1] for entry in card["classes"]], np.uint8)
cv2.imwrite(out, cv2.addWeighted(image, 0.5, colors[mask], 0.5, 0))
cv2.imwrite(f"{out}.mask.png", mask)
