-- :KernelEvolve NAME — what the light bulb and the lenses offer, by name, for the kernel at the cursor.
local M = {}

local APPLY = 'refactor.rewrite.kernelEvolve'

local function client_here()
  return vim.lsp.get_clients({ name = 'kernel_evolve', bufnr = 0 })[1]
end

--- The kernel at the cursor, as the server's commands take it.
local function place(client)
  local parameters = vim.lsp.util.make_position_params(0, client.offset_encoding)
  return { uri = parameters.textDocument.uri, position = parameters.position }
end

local function execute(name)
  return function(client)
    client:exec_cmd({ title = name, command = 'kernelEvolve.' .. name, arguments = { place(client) } }, { bufnr = 0 })
  end
end

local commands = {
  start = execute('start'),
  all = execute('startAll'),
  cancel = execute('cancel'),
  pause = execute('pause'),
  resume = execute('resume'),
  diff = execute('showDiff'),
  report = execute('report'),
  log = execute('showLog'),
  task = execute('createTask'),
  apply = function()
    vim.lsp.buf.code_action({ apply = true, context = { only = { APPLY }, diagnostics = {} } })
  end,
  lens = function()
    vim.lsp.codelens.run()
  end,
}

function M.complete(lead)
  local names = vim.tbl_keys(commands)
  table.sort(names)
  return vim.tbl_filter(function(name)
    return vim.startswith(name, lead)
  end, names)
end

function M.run(name)
  local command = commands[name]
  if not command then
    local known = table.concat(M.complete(''), ', ')
    vim.notify(('KernelEvolve has no command "%s"; there are %s.'):format(name, known), vim.log.levels.ERROR)
    return
  end
  local client = client_here()
  if not client then
    local message = 'kernel-evolve is not running for this buffer. See :checkhealth kernel_evolve'
    vim.notify(message, vim.log.levels.ERROR)
    return
  end
  command(client)
end

return M
