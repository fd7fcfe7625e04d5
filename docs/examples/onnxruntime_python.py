"""Segment an image with ONNX Runtime alone.

python onnxruntime_python.py MODEL.onnx IMAGE OUT.png
"""

import json
import sys

import cv2
import numpy as np
import onnxruntime

model, image_file, out = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
card = json.loads(session.get_modelmeta().custom_metadata_map["segdeploy.card"])
height, width = card["input"]["height"], card["input"]["width"]

image = cv2.imread(image_file)
small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
logits = session.run(None, {"image": cv2.cvtColor(small, cv2.COLOR_BGR2RGB)[None]})[0][0]
planes = [cv2.resize(plane, image.shape[1::-1]) for plane in logits]
mask = np.argmax(planes, axis=0).astype(np.uint8)

colors = np.array([entry["color"][::-1] for entry in card["classes"]], np.uint8)
cv2.imwrite(out, cv2.addWeighted(image, 0.5, colors[mask], 0.5, 0))
cv2.imwrite(f"{out}.mask.png", mask)
