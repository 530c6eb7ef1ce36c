/* The nine functions that the Python bindings of TensorRT take from its libraries. Each makes nothing, so
 * the real bindings import, show all their names, and refuse to make a builder or a runtime. Compiled once
 * for each library the bindings want, under its name; NVIDIA's own libraries come with TensorRT. */
void *createInferBuilder_INTERNAL(void) { return 0; }
void *createInferRefitter_INTERNAL(void) { return 0; }
void *createInferRuntime_INTERNAL(void) { return 0; }
void *getBuilderPluginRegistry(void) { return 0; }
void *getPluginRegistry(void) { return 0; }
void *createNvOnnxParser_INTERNAL(void) { return 0; }
void *createNvOnnxParserRefitter_INTERNAL(void) { return 0; }
int getNvOnnxParserVersion(void) { return 0; }
int initLibNvInferPlugins(void) { return 0; }
