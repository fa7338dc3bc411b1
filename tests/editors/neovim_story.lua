-- The story without a screen, through Neovim's own client: lens, evolve, verdict, apply. Started by test_neovim.py with
--   nvim --clean --headless -S neovim_story.lua, and STORY = { plugin, server, settings, file, seen, seconds } as JSON.
-- What was seen goes to the file `seen`.
local story = vim.json.decode(vim.env.STORY)
local seen = { lenses = {}, progress = {} }

local function lens_titles()
  return vim.tbl_map(function(lens)
    return lens.command and lens.command.title or ''
  end, vim.lsp.codelens.get(0))
end

local function wait(what, seconds, condition)
  if not vim.wait(seconds * 1000, condition, 50) then
    error(('no %s within %d s; the lenses are %s'):format(what, seconds, vim.inspect(lens_titles())))
  end
end

local function lens_matching(pattern, seconds)
  wait('lens with ' .. pattern, seconds, function()
    local shown = table.concat(lens_titles(), ' | ')
    if shown ~= '' and shown ~= seen.lenses[#seen.lenses] then
      table.insert(seen.lenses, shown)
    end
    assert(not shown:match('^failed') and not shown:match('^no gain'), shown)
    return shown:match(pattern) ~= nil
  end)
  return seen.lenses[#seen.lenses]
end

local function request(method)
  local client = vim.lsp.get_clients({ bufnr = 0 })[1]
  local answer = assert(client:request_sync(method, vim.lsp.util.make_position_params(0, client.offset_encoding), 10000, 0))
  return answer.result
end

local function inlay_hints()
  return vim.tbl_map(function(entry)
    local label = entry.inlay_hint.label
    return type(label) == 'string' and label or vim.iter(label):map(function(part)
      return part.value
    end):join('')
  end, vim.lsp.inlay_hint.get({ bufnr = 0 }))
end

local function play()
  vim.opt.runtimepath:prepend(story.plugin)
  vim.cmd.runtime('plugin/kernel_evolve.lua')
  vim.g.kernel_evolve = { cmd = story.server }
  vim.lsp.config('kernel_evolve', { settings = { kernelEvolve = story.settings } })
  vim.lsp.enable('kernel_evolve')
  vim.api.nvim_create_autocmd('LspProgress', {
    callback = function(event)
      table.insert(seen.progress, event.data.params.value.message)
    end,
  })
  vim.cmd.edit(story.file)
  vim.bo.filetype = 'python'
  wait('language client', 30, function()
    local client = vim.lsp.get_clients({ name = 'kernel_evolve', bufnr = 0 })[1]
    return client and client.initialized
  end)

  lens_matching('^Evolve', 30)
  vim.fn.search('def swiglu_kernel')
  vim.cmd.normal('w')
  local before = vim.api.nvim_buf_get_lines(0, 0, -1, false)
  vim.cmd.KernelEvolve('start')
  lens_matching('^evolving', story.seconds)
  seen.verdict = lens_matching('faster', story.seconds)
  wait('inlay hint', 10, function()
    return #inlay_hints() > 0
  end)
  seen.inlay_hints = inlay_hints()
  seen.hover = request('textDocument/hover').contents.value
  vim.cmd.KernelEvolve('apply')
  wait('change by the winner', 30, function()
    return not vim.deep_equal(before, vim.api.nvim_buf_get_lines(0, 0, -1, false))
  end)
  vim.cmd.write()
  seen.after = lens_matching('applied', 10)
  seen.messages = vim.fn.execute('messages')
end

local fine, problem = xpcall(play, debug.traceback)
seen.problem = not fine and problem or nil
vim.fn.writefile({ vim.json.encode(seen) }, story.seen)
vim.cmd(fine and 'qall!' or 'cquit! 1')
