/* A Vulkan that computes nothing: every function the device uses, objects counted, memory from
   malloc filled with floats near 0.75. It stands behind wcoh_vk_desc.get_instance_proc, needs no
   driver, and fails at a chosen call with a chosen result. */
#ifndef WAVECOH_TEST_VULKAN_FAKE_H
#define WAVECOH_TEST_VULKAN_FAKE_H

static struct fake {
    long calls;    /* of functions that can fail */
    long fail_at;  /* this call fails (1, 2 ..); 0: none */
    int for_good;  /* 1: and all after it */
    VkResult code; /* with this result */
    long live;     /* objects not yet destroyed */
    uint64_t next; /* handle */
    void *memory[64];
    size_t bytes;    /* of the last buffer */
    int hits;        /* how often it failed */
    int optional;    /* 1: what failed was a question that may stay unanswered */
    uint32_t shared; /* bytes of shared memory; 0: 32768 */
    uint32_t clock_bits; /* of timestamps */
    uint32_t cores;      /* that VK_NV_shader_sm_builtins tells; 0: there is none */
} fake;

static VkResult fake_result(void)
{
    fake.calls++;
    if (fake.calls != fake.fail_at && !(fake.for_good && fake.fail_at && fake.calls > fake.fail_at))
        return VK_SUCCESS;
    fake.hits++;
    return fake.code;
}

static VkResult fake_question(void)
{
    VkResult result = fake_result();
    if (result) fake.optional = 1;
    return result;
}

/* A handle of any Vulkan type, dispatchable or not. */
static void fake_handle(void *out, size_t size)
{
    uint64_t value = ++fake.next;
    memset(out, 0, size);
    memcpy(out, &value, size < sizeof value ? size : sizeof value);
    fake.live++;
}

/* vkCreateX(parent, info, allocator, &object) and vkDestroyX(parent, object, allocator) */
#define FAKE_OBJECT(Parent, Type, Info, create, destroy)                                           \
    static VKAPI_ATTR VkResult VKAPI_CALL fake_##create(                                           \
        Parent parent, const Info *info, const VkAllocationCallbacks *allocator, Type *object)     \
    {                                                                                              \
        VkResult result = fake_result();                                                           \
        (void)parent, (void)info, (void)allocator;                                                 \
        if (!result) fake_handle(object, sizeof *object);                                          \
        return result;                                                                             \
    }                                                                                              \
    static VKAPI_ATTR void VKAPI_CALL fake_##destroy(Parent parent, Type object,                   \
                                                     const VkAllocationCallbacks *allocator)       \
    {                                                                                              \
        (void)parent, (void)allocator;                                                             \
        if (object) fake.live--;                                                                   \
    }
FAKE_OBJECT(VkDevice, VkBuffer, VkBufferCreateInfo, CreateBufferUnsized, DestroyBuffer)
FAKE_OBJECT(VkDevice, VkShaderModule, VkShaderModuleCreateInfo, CreateShaderModule,
            DestroyShaderModule)
FAKE_OBJECT(VkDevice, VkDescriptorSetLayout, VkDescriptorSetLayoutCreateInfo,
            CreateDescriptorSetLayout, DestroyDescriptorSetLayout)
FAKE_OBJECT(VkDevice, VkPipelineLayout, VkPipelineLayoutCreateInfo, CreatePipelineLayout,
            DestroyPipelineLayout)
FAKE_OBJECT(VkDevice, VkDescriptorPool, VkDescriptorPoolCreateInfo, CreateDescriptorPool,
            DestroyDescriptorPool)
FAKE_OBJECT(VkDevice, VkCommandPool, VkCommandPoolCreateInfo, CreateCommandPool, DestroyCommandPool)
FAKE_OBJECT(VkDevice, VkFence, VkFenceCreateInfo, CreateFence, DestroyFence)
FAKE_OBJECT(VkDevice, VkQueryPool, VkQueryPoolCreateInfo, CreateQueryPool, DestroyQueryPool)

static VKAPI_ATTR VkResult VKAPI_CALL fake_CreateDevice(VkPhysicalDevice physical,
                                                        const VkDeviceCreateInfo *info,
                                                        const VkAllocationCallbacks *allocator,
                                                        VkDevice *object)
{
    VkResult result = fake_result();
    (void)physical, (void)info, (void)allocator;
    if (!result) fake_handle(object, sizeof *object);
    return result;
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_CreateBuffer(VkDevice device,
                                                        const VkBufferCreateInfo *info,
                                                        const VkAllocationCallbacks *allocator,
                                                        VkBuffer *buffer)
{
    fake.bytes = (size_t)info->size;
    return fake_CreateBufferUnsized(device, info, allocator, buffer);
}

static VKAPI_ATTR void VKAPI_CALL fake_DestroyPipeline(VkDevice device, VkPipeline object,
                                                       const VkAllocationCallbacks *allocator)
{
    (void)device, (void)allocator;
    if (object) fake.live--;
}

static VKAPI_ATTR void VKAPI_CALL fake_DestroyDevice(VkDevice object,
                                                     const VkAllocationCallbacks *allocator)
{
    (void)allocator;
    if (object) fake.live--;
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_CreateInstance(const VkInstanceCreateInfo *info,
                                                          const VkAllocationCallbacks *allocator,
                                                          VkInstance *object)
{
    VkResult result = fake_result();
    (void)info, (void)allocator;
    if (!result) fake_handle(object, sizeof *object);
    return result;
}

static VKAPI_ATTR void VKAPI_CALL fake_DestroyInstance(VkInstance object,
                                                       const VkAllocationCallbacks *allocator)
{
    (void)allocator;
    if (object) fake.live--;
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_EnumerateInstanceExtensionProperties(
    const char *layer, uint32_t *count, VkExtensionProperties *list)
{
    (void)layer, (void)list;
    *count = 0;
    return fake_question();
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_EnumerateInstanceLayerProperties(uint32_t *count,
                                                                            VkLayerProperties *list)
{
    (void)list;
    *count = 0;
    return fake_question();
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_EnumerateDeviceExtensionProperties(
    VkPhysicalDevice device, const char *layer, uint32_t *count, VkExtensionProperties *list)
{
    (void)device, (void)layer;
    *count = fake.cores > 0;
    if (*count) strcpy(list->extensionName, VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME);
    return fake_question();
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_EnumeratePhysicalDevices(VkInstance instance,
                                                                    uint32_t *count,
                                                                    VkPhysicalDevice *list)
{
    (void)instance;
    memset(list, 0, sizeof *list);
    memset(list, 1, 1);
    *count = 1;
    return fake_result();
}

static VKAPI_ATTR void VKAPI_CALL fake_GetPhysicalDeviceProperties2(VkPhysicalDevice device,
                                                                    VkPhysicalDeviceProperties2 *p)
{
    VkPhysicalDeviceLimits *limits = &p->properties.limits;
    VkPhysicalDeviceShaderSMBuiltinsPropertiesNV *cores =
        (VkPhysicalDeviceShaderSMBuiltinsPropertiesNV *)p->pNext;
    int i;
    (void)device;
    if (cores && cores->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV)
        cores->shaderSMCount = fake.cores;
    memset(&p->properties, 0, sizeof p->properties);
    strcpy(p->properties.deviceName, "fake");
    p->properties.apiVersion = VK_API_VERSION_1_1;
    p->properties.deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    limits->maxStorageBufferRange = 1u << 30;
    limits->minStorageBufferOffsetAlignment = 64;
    limits->maxPerStageDescriptorStorageBuffers = 16;
    limits->maxComputeSharedMemorySize = fake.shared ? fake.shared : 32768;
    limits->maxComputeWorkGroupInvocations = 1024;
    limits->timestampPeriod = 2;
    for (i = 0; i < 3; i++) limits->maxComputeWorkGroupCount[i] = 65535;
}

static VKAPI_ATTR void VKAPI_CALL
fake_GetPhysicalDeviceFeatures2(VkPhysicalDevice device, VkPhysicalDeviceFeatures2 *features)
{
    (void)device;
    memset(&features->features, 0, sizeof features->features);
}

static VKAPI_ATTR void VKAPI_CALL fake_GetPhysicalDeviceMemoryProperties(
    VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties *memory)
{
    (void)device;
    memset(memory, 0, sizeof *memory);
    memory->memoryTypeCount = memory->memoryHeapCount = 1;
    memory->memoryTypes[0].propertyFlags = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                           VK_MEMORY_PROPERTY_HOST_COHERENT_BIT |
                                           VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    memory->memoryHeaps[0].size = 1u << 30;
    memory->memoryHeaps[0].flags = VK_MEMORY_HEAP_DEVICE_LOCAL_BIT;
}

static VKAPI_ATTR void VKAPI_CALL fake_GetPhysicalDeviceQueueFamilyProperties(
    VkPhysicalDevice device, uint32_t *count, VkQueueFamilyProperties *list)
{
    (void)device;
    memset(list, 0, sizeof *list);
    list->queueFlags = VK_QUEUE_COMPUTE_BIT;
    list->queueCount = 1;
    list->timestampValidBits = fake.clock_bits;
    *count = 1;
}

static VKAPI_ATTR void VKAPI_CALL fake_GetDeviceQueue(VkDevice device, uint32_t family, uint32_t i,
                                                      VkQueue *queue)
{
    (void)device, (void)family, (void)i;
    memset(queue, 0, sizeof *queue);
    memset(queue, 1, 1);
}

static VKAPI_ATTR void VKAPI_CALL fake_GetBufferMemoryRequirements(VkDevice device, VkBuffer buffer,
                                                                   VkMemoryRequirements *need)
{
    (void)device, (void)buffer;
    need->size = fake.bytes;
    need->alignment = 64;
    need->memoryTypeBits = 1;
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_AllocateMemory(VkDevice device,
                                                          const VkMemoryAllocateInfo *info,
                                                          const VkAllocationCallbacks *allocator,
                                                          VkDeviceMemory *memory)
{
    VkResult result = fake_result();
    (void)device, (void)allocator;
    if (result) return result;
    fake_handle(memory, sizeof *memory);
    fake.memory[fake.next % 64] = malloc((size_t)info->allocationSize);
    memset(fake.memory[fake.next % 64], 0x3f, (size_t)info->allocationSize);
    return result;
}

static uint64_t fake_number(VkDeviceMemory memory)
{
    uint64_t number = 0;
    memcpy(&number, &memory, sizeof memory < sizeof number ? sizeof memory : sizeof number);
    return number;
}

static VKAPI_ATTR void VKAPI_CALL fake_FreeMemory(VkDevice device, VkDeviceMemory memory,
                                                  const VkAllocationCallbacks *allocator)
{
    (void)device, (void)allocator;
    if (!memory) return;
    fake.live--;
    free(fake.memory[fake_number(memory) % 64]);
    fake.memory[fake_number(memory) % 64] = NULL;
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_BindBufferMemory(VkDevice device, VkBuffer buffer,
                                                            VkDeviceMemory memory, VkDeviceSize at)
{
    (void)device, (void)buffer, (void)memory, (void)at;
    return fake_result();
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_MapMemory(VkDevice device, VkDeviceMemory memory,
                                                     VkDeviceSize at, VkDeviceSize size,
                                                     VkMemoryMapFlags flags, void **mapped)
{
    (void)device, (void)at, (void)size, (void)flags;
    *mapped = fake.memory[fake_number(memory) % 64];
    return fake_result();
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_CreateComputePipelines(
    VkDevice device, VkPipelineCache cache, uint32_t count, const VkComputePipelineCreateInfo *info,
    const VkAllocationCallbacks *allocator, VkPipeline *pipeline)
{
    VkResult result = fake_result();
    (void)device, (void)cache, (void)count, (void)info, (void)allocator;
    if (!result) fake_handle(pipeline, sizeof *pipeline);
    return result;
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_AllocateDescriptorSets(
    VkDevice device, const VkDescriptorSetAllocateInfo *info, VkDescriptorSet *set)
{
    (void)device, (void)info;
    memset(set, 0, sizeof *set); /* freed with its pool */
    return fake_result();
}

static VKAPI_ATTR void VKAPI_CALL fake_UpdateDescriptorSets(VkDevice device, uint32_t writes,
                                                            const VkWriteDescriptorSet *write,
                                                            uint32_t copies,
                                                            const VkCopyDescriptorSet *copy)
{
    (void)device, (void)writes, (void)write, (void)copies, (void)copy;
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_AllocateCommandBuffers(
    VkDevice device, const VkCommandBufferAllocateInfo *info, VkCommandBuffer *commands)
{
    VkResult result = fake_result();
    (void)device, (void)info;
    if (!result) fake_handle(commands, sizeof *commands);
    return result;
}

static VKAPI_ATTR void VKAPI_CALL fake_FreeCommandBuffers(VkDevice device, VkCommandPool pool,
                                                          uint32_t count,
                                                          const VkCommandBuffer *commands)
{
    (void)device, (void)pool, (void)commands;
    fake.live -= (long)count;
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_BeginCommandBuffer(VkCommandBuffer commands,
                                                              const VkCommandBufferBeginInfo *info)
{
    (void)commands, (void)info;
    return fake_result();
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_EndCommandBuffer(VkCommandBuffer commands)
{
    (void)commands;
    return fake_result();
}

static VKAPI_ATTR void VKAPI_CALL fake_CmdBindPipeline(VkCommandBuffer commands,
                                                       VkPipelineBindPoint point, VkPipeline p)
{
    (void)commands, (void)point, (void)p;
}

static VKAPI_ATTR void VKAPI_CALL fake_CmdBindDescriptorSets(
    VkCommandBuffer commands, VkPipelineBindPoint point, VkPipelineLayout layout, uint32_t first,
    uint32_t count, const VkDescriptorSet *sets, uint32_t offsets, const uint32_t *offset)
{
    (void)commands, (void)point, (void)layout, (void)first, (void)count, (void)sets, (void)offsets;
    (void)offset;
}

static VKAPI_ATTR void VKAPI_CALL fake_CmdPushConstants(VkCommandBuffer commands,
                                                        VkPipelineLayout layout,
                                                        VkShaderStageFlags stages, uint32_t offset,
                                                        uint32_t size, const void *values)
{
    (void)commands, (void)layout, (void)stages, (void)offset, (void)size, (void)values;
}

static VKAPI_ATTR void VKAPI_CALL fake_CmdDispatch(VkCommandBuffer commands, uint32_t x, uint32_t y,
                                                   uint32_t z)
{
    (void)commands, (void)x, (void)y, (void)z;
}

static VKAPI_ATTR void VKAPI_CALL fake_CmdPipelineBarrier(
    VkCommandBuffer commands, VkPipelineStageFlags from, VkPipelineStageFlags to,
    VkDependencyFlags flags, uint32_t a, const VkMemoryBarrier *memory, uint32_t b,
    const VkBufferMemoryBarrier *buffers, uint32_t c, const VkImageMemoryBarrier *images)
{
    (void)commands, (void)from, (void)to, (void)flags, (void)a, (void)memory, (void)b;
    (void)buffers, (void)c, (void)images;
}

static VKAPI_ATTR void VKAPI_CALL fake_CmdFillBuffer(VkCommandBuffer commands, VkBuffer buffer,
                                                     VkDeviceSize at, VkDeviceSize size,
                                                     uint32_t value)
{
    (void)commands, (void)buffer, (void)at, (void)size, (void)value;
}

static VKAPI_ATTR void VKAPI_CALL fake_CmdUpdateBuffer(VkCommandBuffer commands, VkBuffer buffer,
                                                       VkDeviceSize at, VkDeviceSize size,
                                                       const void *data)
{
    (void)commands, (void)buffer, (void)at, (void)size, (void)data;
}

static VKAPI_ATTR void VKAPI_CALL fake_CmdCopyBuffer(VkCommandBuffer commands, VkBuffer from,
                                                     VkBuffer to, uint32_t count,
                                                     const VkBufferCopy *regions)
{
    (void)commands, (void)from, (void)to, (void)count, (void)regions;
}

static VKAPI_ATTR void VKAPI_CALL fake_CmdResetQueryPool(VkCommandBuffer commands, VkQueryPool pool,
                                                         uint32_t first, uint32_t count)
{
    (void)commands, (void)pool, (void)first, (void)count;
}

static VKAPI_ATTR void VKAPI_CALL fake_CmdWriteTimestamp(VkCommandBuffer commands,
                                                         VkPipelineStageFlagBits stage,
                                                         VkQueryPool pool, uint32_t query)
{
    (void)commands, (void)stage, (void)pool, (void)query;
}

/* A clock that runs over between the first and the second of each pair: 7 ticks. */
static VKAPI_ATTR VkResult VKAPI_CALL fake_GetQueryPoolResults(VkDevice device, VkQueryPool pool,
                                                               uint32_t first, uint32_t count,
                                                               size_t size, void *data,
                                                               VkDeviceSize stride,
                                                               VkQueryResultFlags flags)
{
    uint64_t *ticks = (uint64_t *)data;
    (void)device, (void)pool, (void)first, (void)count, (void)size, (void)stride, (void)flags;
    ticks[0] = ((uint64_t)1 << fake.clock_bits) - 3;
    ticks[1] = 4;
    return fake_result();
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_ResetFences(VkDevice device, uint32_t count,
                                                       const VkFence *fences)
{
    (void)device, (void)count, (void)fences;
    return fake_result();
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_WaitForFences(VkDevice device, uint32_t count,
                                                         const VkFence *fences, VkBool32 all,
                                                         uint64_t timeout)
{
    (void)device, (void)count, (void)fences, (void)all, (void)timeout;
    return fake_result();
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_QueueSubmit(VkQueue queue, uint32_t count,
                                                       const VkSubmitInfo *info, VkFence fence)
{
    (void)queue, (void)count, (void)info, (void)fence;
    return fake_result();
}

static VKAPI_ATTR VkResult VKAPI_CALL fake_QueueWaitIdle(VkQueue queue)
{
    (void)queue;
    return VK_SUCCESS;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL fake_GetDeviceProcAddr(VkDevice device,
                                                                       const char *name);

/* The function of a name; NULL if the device asks for one that does not exist, or, as a call that
   can fail, if it is this call's turn. */
static wcoh_vk_function fake_get_instance_proc(void *instance, const char *name)
{
    (void)instance;
    if (fake_result()) return NULL;
#define FAKE_ROW(member)                                                                           \
    if (strcmp(name, "vk" #member) == 0) return (wcoh_vk_function)fake_##member;
    WCOHI_VK_GLOBAL(FAKE_ROW)
    WCOHI_VK_INSTANCE(FAKE_ROW)
    WCOHI_VK_DEVICE(FAKE_ROW)
#undef FAKE_ROW
    return NULL;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL fake_GetDeviceProcAddr(VkDevice device,
                                                                       const char *name)
{
    wcoh_vk_function function = fake_get_instance_proc(NULL, name);
    PFN_vkVoidFunction out;
    (void)device;
    memcpy(&out, &function, sizeof out);
    return out;
}

#endif
