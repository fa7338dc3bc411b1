-- What Neovim leaves to the user, for this server only: lenses, inlay hints and diagnostics on the kernel's own lines.
-- Turn any of them off before the server starts: vim.g.kernel_evolve = { lenses = false }
local M = {}

local defaults = {
  cmd = nil, -- list of strings; nil: look for it
  lenses = true,
  inlay_hints = true,
  virtual_text = true,
  progress = true, -- the run's progress in the message line
}

function M.options()
  return vim.tbl_extend('force', defaults, vim.g.kernel_evolve or {})
end

--- Where the server comes from: vim.g.kernel_evolve.cmd, the nearest .venv, PATH.
---@param buffer? integer default: the current one
---@return string[] command
---@return string? cause why it cannot be started
---@return string? advice what to do about that
function M.command(buffer)
  local explicit = M.options().cmd
  if explicit then
    local cause = ('vim.g.kernel_evolve.cmd names "%s", which is not an executable file'):format(explicit[1])
    if vim.fn.executable(explicit[1]) == 0 then
      return explicit, cause, 'Correct it, or leave it out to let the server be found'
    end
    return explicit
  end
  local here = vim.fs.root(buffer or 0, '.venv')
  local script = here and vim.fs.joinpath(here, '.venv', 'bin', 'kernel-evolve')
  if script and vim.fn.executable(script) == 1 then
    return { script, 'lsp' }
  end
  if vim.fn.executable('kernel-evolve') == 1 then
    return { 'kernel-evolve', 'lsp' }
  end
  local advice = 'Run "pip install kernel-evolve", or set vim.g.kernel_evolve = { cmd = { "/path/to/kernel-evolve", "lsp" } }'
  return { 'kernel-evolve', 'lsp' }, 'kernel-evolve is neither in the nearest .venv nor on PATH', advice
end

local root_markers = { '.kernel-evolve', 'pyproject.toml', '.git' }

--- The root_dir of lsp/kernel_evolve.lua. Without a server there is none: said once, not for every file that is opened.
function M.root_dir(buffer, found)
  local _, cause = M.command(buffer)
  if cause then
    vim.notify_once(cause .. '. See :checkhealth kernel_evolve', vim.log.levels.WARN)
    return
  end
  local file = vim.api.nvim_buf_get_name(buffer)
  found(vim.fs.root(buffer, root_markers) or vim.fs.dirname(file))
end

--- The cmd of lsp/kernel_evolve.lua: decided when the server starts, not when this file is read.
function M.start_server(dispatchers)
  local command = M.command()
  return vim.lsp.rpc.start(command, dispatchers)
end

--- The settings go with the first message: a run started at once must not miss them.
function M.before_init(parameters, config)
  local options = parameters.initializationOptions or {}
  options.kernelEvolve = vim.tbl_get(config, 'settings', 'kernelEvolve')
  parameters.initializationOptions = options
end

-- 0.11 can refresh lenses but does not say so, because nothing in it does it by itself; the handlers below do.
M.capabilities = { workspace = { codeLens = { refreshSupport = true } } }

local function attached_buffers(client_id)
  local client = vim.lsp.get_client_by_id(client_id)
  return client and vim.tbl_keys(client.attached_buffers) or {}
end

local function refresh_lenses(buffer)
  if M.options().lenses and not vim.lsp.codelens.enable and vim.api.nvim_buf_is_loaded(buffer) then
    vim.lsp.codelens.refresh({ bufnr = buffer })
  end
end

M.handlers = {}

-- 0.12 has a handler of its own.
if not vim.lsp.codelens.enable then
  -- 0.11 marks a line as drawn when it is redrawn between its question and our answer, and the answer stays invisible until
  -- the text changes. Asking it to refresh once more, when the answer is there, draws what it holds.
  M.handlers['workspace/inlayHint/refresh'] = function(failure, result, context)
    local refresh = vim.lsp.handlers['workspace/inlayHint/refresh']
    vim.defer_fn(function()
      if vim.lsp.get_client_by_id(context.client_id) then
        refresh(failure, result, context)
        vim.cmd.redraw({ bang = true })
      end
    end, 300)
    return refresh(failure, result, context)
  end
  M.handlers['workspace/codeLens/refresh'] = function(_, _, context)
    vim.iter(attached_buffers(context.client_id)):each(refresh_lenses)
    return vim.NIL
  end
end

M.handlers['$/kernelEvolve/runChanged'] = function(_, run)
  vim.api.nvim_exec_autocmds('User', { pattern = 'KernelEvolveRunChanged', data = run })
end

M.handlers['experimental/serverStatus'] = function(_, status, context)
  local client = vim.lsp.get_client_by_id(context.client_id)
  if client then
    client.server_status = status -- shown by :checkhealth kernel_evolve
  end
end

local function show_lenses(buffer, group)
  if vim.lsp.codelens.enable then
    vim.lsp.codelens.enable(true, { bufnr = buffer })
    return
  end
  refresh_lenses(buffer)
  vim.api.nvim_create_autocmd({ 'BufEnter', 'InsertLeave', 'TextChanged', 'CursorHold' }, {
    group = group,
    buffer = buffer,
    callback = function()
      refresh_lenses(buffer)
    end,
  })
end

local function progress_text(value)
  -- At the end the title ("Evolving …") is no longer true.
  local parts = { value.kind == 'end' and 'kernel-evolve' or value.title, value.message }
  return table.concat(vim.iter(parts):totable(), ': ')
end

--- One line, replaced in place: a run's progress must neither ask for Enter nor fill :messages.
local function show_progress(client_id, group)
  vim.api.nvim_create_autocmd('LspProgress', {
    group = group,
    callback = function(event)
      if event.data.client_id == client_id and vim.api.nvim_get_mode().mode == 'n' then
        local text = progress_text(event.data.params.value)
        vim.api.nvim_echo({ { text:sub(1, vim.o.columns - 12) } }, false, {})
      end
    end,
  })
end

function M.on_attach(client, buffer)
  local options = M.options()
  local group = vim.api.nvim_create_augroup(('kernel_evolve.%d.%d'):format(client.id, buffer), { clear = true })
  if options.lenses then
    show_lenses(buffer, group)
  end
  if options.inlay_hints then
    vim.lsp.inlay_hint.enable(true, { bufnr = buffer })
  end
  if options.virtual_text then
    vim.diagnostic.config({ virtual_text = true }, vim.lsp.diagnostic.get_namespace(client.id))
  end
  if options.progress then
    show_progress(client.id, vim.api.nvim_create_augroup('kernel_evolve.progress', { clear = true }))
  end
end

return M
