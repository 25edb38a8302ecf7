"""Conversion of networks to ONNX, OpenVINO and Paddle Inference, and int8 quantisation."""
