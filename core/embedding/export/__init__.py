"""Making ONNX files from published weights, in an environment of its own; the server never imports torch."""
